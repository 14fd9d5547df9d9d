{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.opendkim.activated

mailserver-opendkim-service:
  service.running:
    - name: {{ mailserver.os.opendkim.service }}
    - enable: true
    - require:
        - mailserver: mailserver-opendkim-in-force
