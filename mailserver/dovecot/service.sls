{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.dovecot.activated

mailserver-dovecot-service:
  service.running:
    - name: {{ mailserver.os.dovecot.service }}
    - enable: true
    - require:
        - mailserver: mailserver-dovecot-in-force
