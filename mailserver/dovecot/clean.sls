{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set config = mailserver.os.dovecot.folder ~ '/dovecot.conf' %}

mailserver-dovecot-clean-service:
  service.dead:
    - name: {{ mailserver.os.dovecot.service }}
    - enable: false

mailserver-dovecot-clean-config:
  cmd.run:
    - name: mv {{ config }}.dist {{ config }}
    - onlyif: test -e {{ config }}.dist
    - require:
        - service: mailserver-dovecot-clean-service
