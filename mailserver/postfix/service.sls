{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.postfix.config
  - mailserver.sasl

mailserver-postfix-service:
  service.running:
    - name: {{ mailserver.os.postfix.service }}
    - enable: true
    - require:
        - cmd: mailserver-postfix-shown
{%- if mailserver.sasl.type == 'cyrus' %}
        - service: mailserver-sasl-service
{%- endif %}
    - watch:
        - file: mailserver-postfix-main
        - file: mailserver-postfix-master
{%- if mailserver.sasl.type == 'cyrus' %}
        - file: mailserver-sasl-postfix-config
{%- for group in mailserver.os.sasl.user_groups %}
        - cmd: mailserver-sasl-postfix-in-{{ group }}
{%- endfor %}
{%- endif %}
