{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set offline = not salt['service.status']('salt-minion') %}
{%- for name in ['advance', 'watch'] %}
mailserver-schedule-clean-{{ name }}:
  schedule.absent:
    - name: mailserver-schedule-{{ name }}
    - offline: {{ offline | json }}

{% endfor -%}
mailserver-schedule-clean-without-master:
  file.absent:
    - name: {{ salt['file.dirname'](opts.conf_file) }}/minion.d/mailserver-schedule.conf

# What a watch remembers of this mail server is not true of the next one.
mailserver-schedule-clean-watch-files:
  file.absent:
    - names:
        - /etc/mailserver/settings.json
        - /var/lib/mailserver/watch
{%- if mailserver.watch.prometheus %}
        - {{ mailserver.watch.prometheus }}
{%- endif %}
