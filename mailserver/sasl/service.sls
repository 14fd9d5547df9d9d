{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.sasl.config

mailserver-sasl-service:
  service.running:
    - name: {{ mailserver.os.sasl.service }}
    - enable: true
    - require:
        - pkg: mailserver-sasl-packages
    - watch:
        - file: mailserver-sasl-config
{%- if mailserver.os.postfix.chroot %}
        - file: mailserver-sasl-service-folder
        - cmd: mailserver-sasl-socket-folder
{%- endif %}
