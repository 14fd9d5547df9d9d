# A key for each domain that has none; one state for all domains.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}

include:
  - mailserver.opendkim.package
{%- if mailserver.python.install %}
  - mailserver.python
{%- endif %}

mailserver-opendkim-keys:
  dkim.managed:
    - name: {{ opendkim['keys'] }}
    - domains: {{ mailserver.domains | json | json }}
    - host: {{ mailserver.hostname }}
    - key_table: {{ opendkim.key_table }}
    - signing_table: {{ opendkim.signing_table }}
    - user: {{ opendkim.user }}
    - group: {{ opendkim.group }}
    - require:
        - pkg: mailserver-opendkim-packages
