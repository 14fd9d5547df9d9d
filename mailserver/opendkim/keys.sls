# A key for each domain that has none; one state for all domains.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}

include:
  - mailserver.opendkim.package
  - mailserver.opendkim.takeover
{%- if mailserver.python.install %}
  - mailserver.python
{%- endif %}

# What dkim.advance, the minion's schedule and all of `salt '*' dkim.…` go by, until the next highstate.
{%- set domains = salt['mailserver.packed'](mailserver.domains, ['dkim']) %}
{%- set applied = {'format': 2, 'hostname': mailserver.hostname, 'domains': domains, 'dns': mailserver.dns,
                   'opendkim': {'socket': mailserver.opendkim.socket}, 'os': {'opendkim': opendkim} } %}

mailserver-opendkim-applied:
  file.managed:
    - name: /etc/mailserver/dkim.json
    - contents: {{ applied | json | json }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
    - show_changes: false
    - require:
        - dkim: mailserver-opendkim-found

mailserver-opendkim-keys:
  dkim.managed:
    - name: {{ opendkim['keys'] }}
    - domains: {{ domains | json }}
    - host: {{ mailserver.hostname }}
    - key_table: {{ opendkim.key_table }}
    - signing_table: {{ opendkim.signing_table }}
    - user: {{ opendkim.user }}
    - group: {{ opendkim.group }}
    - require:
        - pkg: mailserver-opendkim-packages
        - dkim: mailserver-opendkim-taken-over
