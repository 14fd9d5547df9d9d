{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.opendkim.config
  - mailserver.opendkim.keys

mailserver-opendkim-service:
  service.running:
    - name: {{ mailserver.os.opendkim.service }}
    - enable: true
    - require:
        - pkg: mailserver-opendkim-packages
    - watch:
        - file: mailserver-opendkim-config
        - file: mailserver-opendkim-trusted-hosts
