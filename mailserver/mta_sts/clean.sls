# Remove the site. nginx stays, since it may have others; https is closed if nothing listens there any more.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-mta-sts-clean-site:
  file.absent:
    - name: {{ mailserver.os.nginx.site }}

mailserver-mta-sts-clean-reload:
  cmd.run:
    - name: systemctl try-reload-or-restart {{ mailserver.os.nginx.service }}
    - onchanges:
        - file: mailserver-mta-sts-clean-site

{%- if mailserver.firewalld.enabled %}

mailserver-mta-sts-clean-firewall:
  mailserver.firewall_closed:
    - name: {{ mailserver.firewalld.zone }}
    - services: [https]
    # nginx's ports are read from its configuration, since a reload takes a moment.
    - unless: >-
        nginx -T 2>/dev/null | grep -qE '^[[:space:]]*listen[[:space:]]+([^#]*:)?443[ ;]' ||
        ss -Hltnp 'sport = :443' | grep -v nginx | grep -q .
    - onchanges:
        - file: mailserver-mta-sts-clean-site
    - require:
        - cmd: mailserver-mta-sts-clean-reload
{%- endif %}
