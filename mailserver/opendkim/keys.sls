# A key for each domain that has none; one state for all domains.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}

include:
  - mailserver.opendkim.package
  - mailserver.opendkim.takeover
  - mailserver.python

# The settings that dkim.advance, the minion's schedule and all of `salt '*' dkim.…` use until the next highstate.
{%- set domains = salt['mailserver.packed'](mailserver.domains, ['dkim']) %}
{%- set applied = {'format': 2, 'hostname': mailserver.hostname, 'domains': domains, 'dns': mailserver.dns,
                   'opendkim': {'socket': mailserver.opendkim.socket}, 'os': {'opendkim': opendkim} } %}

mailserver-opendkim-applied:
  file.managed:
    - name: /etc/mailserver/dkim.json
    - contents: {{ applied | json | json }}
    - user: root
    - group: root
    - mode: '0600'
    - makedirs: true
    - dir_mode: '0755'
    - show_changes: false
    - require:
        - dkim: mailserver-opendkim-found

mailserver-opendkim-folder:
  file.directory:
    - name: {{ opendkim.folder }}
    - user: root
    - group: root
    - mode: '0755'
    - require:
        - pkg: mailserver-opendkim-packages

# They belonged to OpenDKIM, if an earlier formula or a person made them. A failure concerns only that folder's domain:
# dkim.managed reports it again.
mailserver-opendkim-key-folders:
  dkim.folders:
    - name: {{ opendkim['keys'] }}
    - user: {{ opendkim.user }}
    - group: {{ opendkim.group }}
    - require:
        - file: mailserver-opendkim-folder

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
        - file: mailserver-opendkim-folder
        - dkim: mailserver-opendkim-taken-over
{%- if not mailserver.python.install %}
        - sls: mailserver.python
{%- endif %}
