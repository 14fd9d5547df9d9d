mailserver-schedule-clean:
  schedule.absent:
    - name: mailserver-schedule-advance
    - offline: {{ (not salt['service.status']('salt-minion')) | json }}

mailserver-schedule-clean-without-master:
  file.absent:
    - name: {{ salt['file.dirname'](opts.conf_file) }}/minion.d/mailserver-schedule.conf
