mailserver-schedule-clean:
  schedule.absent:
    - name: mailserver-schedule-advance
    - offline: {{ (not salt['service.status']('salt-minion')) | json }}
