# Last of all: what the host's own daemons were, they are again, and the copies go.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import units with context %}

mailserver-kept-clean-units:
  mailserver.units_given_back:
    - name: units
    - units: {{ units | json }}
    - milter: {{ mailserver.os.opendkim.service }}
{%- if mailserver.firewalld.enabled %}
    - firewall: {{ mailserver.os.firewalld.service }}
{%- endif %}

mailserver-kept-clean:
  file.absent:
    - names:
        - /var/lib/mailserver/staged
        - /var/lib/mailserver/kept
    - require:
        - mailserver: mailserver-kept-clean-units
