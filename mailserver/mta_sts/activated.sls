# Activate the site: check it, put it in place, reload nginx and test that it serves; or roll all of it back.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set nginx = mailserver.os.nginx %}

include:
  - mailserver.mta_sts.config

mailserver-mta-sts-in-force:
  mailserver.activated:
    - name: nginx
    - service: {{ nginx.service }}
    - files: [{{ nginx.site }}]
    - check: /usr/local/libexec/mailserver/check-nginx {{ nginx.folder }} {{ nginx.site }} {staged}{{ nginx.site }}
    - reload: systemctl reload {{ nginx.service }}
    - sockets: {{ mailserver.mta_sts.listen | json }}
    - log: /var/log/nginx/error.log
    - require:
        - pkg: mailserver-mta-sts-packages
        - file: mailserver-mta-sts-check
    - watch:
        - mailserver: mailserver-mta-sts-site
