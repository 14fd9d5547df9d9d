# Reloaded, never restarted: connections to other sites go on.
{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.mta_sts.config

mailserver-mta-sts-service:
  service.running:
    - name: {{ mailserver.os.nginx.service }}
    - enable: true
    - reload: true
    - require:
        - pkg: mailserver-mta-sts-packages
    - watch:
        - file: mailserver-mta-sts-site
