{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.postfix.activated
  - mailserver.sasl

mailserver-postfix-service:
  service.running:
    - name: {{ mailserver.os.postfix.service }}
    - enable: true
    - require:
        - mailserver: mailserver-postfix-in-force
{%- if mailserver.sasl.type == 'cyrus' %}
    - watch:
        - file: mailserver-sasl-postfix-config
{%- for group in mailserver.os.sasl.user_groups %}
        - group: mailserver-sasl-postfix-in-{{ group }}
{%- endfor %}
{%- endif %}
