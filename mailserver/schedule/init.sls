# Every minion looks after its own keys, whether or not the master can be reached.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set schedule = mailserver.schedule %}
{%- set offline = not salt['service.status']('salt-minion') %}

mailserver-schedule-advance:
{%- if schedule.enabled and mailserver.opendkim.enabled %}
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
