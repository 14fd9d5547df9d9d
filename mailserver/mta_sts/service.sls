# Reloaded, never restarted: connections to other sites go on.
{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.mta_sts.activated

mailserver-mta-sts-service:
  service.running:
    - name: {{ mailserver.os.nginx.service }}
    - enable: true
    - require:
        - mailserver: mailserver-mta-sts-in-force
