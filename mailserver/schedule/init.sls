# Every minion looks after its own keys, whether or not the master can be reached.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set schedule = mailserver.schedule %}
{%- set runs = schedule.enabled and mailserver.opendkim.enabled %}
{%- set offline = not salt['service.status']('salt-minion') %}

mailserver-schedule-advance:
{%- if runs %}
  schedule.present:
    - function: dkim.advance
    - seconds: {{ schedule.every }}
    - splay: {{ schedule.splay }}
    - maxrunning: 1
    - run_on_start: false
{%- else %}
  schedule.absent:
{%- endif %}
    - offline: {{ offline | json }}

# Or a minion that starts while the master is away would run no job until it is back.
mailserver-schedule-without-master:
{%- if runs %}
  file.managed:
    - contents: |
        # Written by Salt (mailserver/schedule): DKIM keys are looked after without the master, too.
        scheduler_before_connect: true
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
{%- else %}
  file.absent:
{%- endif %}
    - name: {{ salt['file.dirname'](opts.conf_file) }}/minion.d/mailserver-schedule.conf
