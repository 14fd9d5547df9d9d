# Record and copy once how the host was before this formula, so that mailserver.clean can restore it.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files, units, modes with context %}

mailserver-kept-originals:
  mailserver.originals_noted:
    - name: how the host was before
    - files: {{ files.values() | sum(start=[]) | json }}
    - units: {{ units | json }}
    - modes: {{ modes | json }}
{%- if mailserver.firewalld.enabled %}
    - zone: {{ mailserver.firewalld.zone }}
    - firewall: {{ mailserver.os.firewalld.service }}
{%- endif %}
    - order: 1
{%- for component, paths in (
  ('postfix', files.postfix[:2]),
  ('dovecot', files.dovecot),
  ('opendkim', [mailserver.os.opendkim.config, mailserver.os.opendkim.trusted_hosts]),
) %}

mailserver-kept-lost-{{ component }}:
  mailserver.lost_settings:
    - name: {{ component }}
    - files: {{ paths | json }}
    - order: 2
{%- endfor %}
{%- if mailserver.firewalld.enabled %}

mailserver-kept-lost-ports:
  mailserver.lost_ports:
    - name: {{ mailserver.firewalld.zone }}
    - firewall: {{ mailserver.os.firewalld.service }}
    - services: {{ mailserver.firewalld.services | json }}
    - ports: {{ mailserver.firewalld.ports | json }}
    - shut: {{ mailserver.firewalld.shut | json }}
    - order: 2
{%- endif %}
