{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set by = salt['mailserver.scheduler']() %}
{%- for name in ['advance', 'watch'] %}
mailserver-schedule-clean-{{ name }}:
  schedule.absent:
    - name: mailserver-schedule-{{ name }}
    - offline: {{ (by != 'minion') | json }}
{%- set units = '/etc/systemd/system/mailserver-' ~ name %}
{%- if salt['file.file_exists'](units ~ '.timer') %}

mailserver-schedule-clean-{{ name }}-timer:
  service.dead:
    - name: mailserver-{{ name }}.timer
    - enable: false

mailserver-schedule-clean-{{ name }}-units:
  file.absent:
    - names:
        - {{ units }}.timer
        - {{ units }}.service
    - require:
        - service: mailserver-schedule-clean-{{ name }}-timer
{%- endif %}

{% endfor -%}
mailserver-schedule-clean-without-master:
  file.absent:
    - name: {{ salt['file.dirname'](opts.conf_file) }}/minion.d/mailserver-schedule.conf

# What a watch remembers about this mail server does not apply to the next one.
mailserver-schedule-clean-watch-files:
  file.absent:
    - names:
        - /etc/mailserver/settings.json
        - /var/lib/mailserver/watch
{%- if mailserver.watch.prometheus %}
        - {{ mailserver.watch.prometheus }}
{%- endif %}
