{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.firewalld.package

mailserver-firewalld-service:
  service.running:
    - name: {{ mailserver.os.firewalld.service }}
    - enable: true
    - require:
        - pkg: mailserver-firewalld-packages
