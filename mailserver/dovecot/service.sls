{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.dovecot.config
{%- if mailserver.sasl.type == 'dovecot' %}
  - mailserver.postfix.package
{%- endif %}

mailserver-dovecot-service:
  service.running:
    - name: {{ mailserver.os.dovecot.service }}
    - enable: true
    - require:
        - pkg: mailserver-dovecot-packages
{%- if mailserver.sasl.type == 'dovecot' %}
        - pkg: mailserver-postfix-packages
{%- endif %}
    - watch:
        - file: mailserver-dovecot-config
