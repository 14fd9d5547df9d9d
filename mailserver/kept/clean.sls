# Last of all: the host's own daemons run as before, and the copies are deleted.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import units with context %}

include:
{%- for component in ('postfix', 'dovecot', 'opendkim', 'sasl', 'accounts') %}
  - mailserver.{{ component }}.clean
{%- endfor %}
{%- if mailserver.firewalld.enabled %}
  - mailserver.firewalld.clean
{%- endif %}

mailserver-kept-clean-units:
  mailserver.units_given_back:
    - name: units
    - units: {{ units | json }}
    - milter: {{ mailserver.os.opendkim.service }}
{%- if mailserver.firewalld.enabled %}
    - firewall: {{ mailserver.os.firewalld.service }}
{%- endif %}
    # This deletes the copies, so not before everything is restored.
    - require:
{%- for component in ('postfix', 'dovecot', 'opendkim', 'sasl') %}
        - mailserver: mailserver-{{ component }}-clean-config
{%- endfor %}
        - mailserver: mailserver-accounts-clean-aliases
{%- if mailserver.firewalld.enabled %}
        - mailserver: mailserver-firewalld-clean
{%- endif %}

mailserver-kept-clean:
  file.absent:
    - names:
        - /var/lib/mailserver/staged
        - /var/lib/mailserver/kept
        - /var/lib/mailserver/given.json
    - require:
        - mailserver: mailserver-kept-clean-units
