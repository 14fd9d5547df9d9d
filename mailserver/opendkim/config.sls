{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set opendkim = mailserver.os.opendkim %}

include:
  - mailserver.opendkim.package
  - mailserver.opendkim.keys
  - mailserver.opendkim.takeover

mailserver-opendkim-distribution:
  mailserver.originals_kept:
    - name: OpenDKIM's files
    - files: {{ files.opendkim | json }}
    - require:
        - pkg: mailserver-opendkim-packages

# dkim.signing writes who signs. Here the tables only have to exist, or OpenDKIM does not start.
mailserver-opendkim-tables:
  dkim.tables:
    - name: {{ opendkim.key_table }}
    - signing_table: {{ opendkim.signing_table }}
    - require:
        - file: mailserver-opendkim-folder
        - dkim: mailserver-opendkim-taken-over

mailserver-opendkim-unit:
  file.managed:
    - name: /etc/systemd/system/{{ opendkim.service }}.service.d/mailserver.conf
    - source: salt://mailserver/opendkim/files/opendkim.service
    - makedirs: true
    - user: root
    - group: root
    - mode: '0644'
  module.run:
    - name: service.systemctl_reload
    - onchanges:
        - file: mailserver-opendkim-unit

mailserver-opendkim-check:
  file.managed:
    - name: /usr/local/libexec/mailserver/check-opendkim
    - source: salt://mailserver/opendkim/files/check-opendkim
    - makedirs: true
    - user: root
    - group: root
    - mode: '0755'

mailserver-opendkim-trusted-hosts:
  mailserver.staged:
    - name: {{ opendkim.trusted_hosts }}
    - source: salt://mailserver/opendkim/files/TrustedHosts.jinja
    - template: jinja
    - context:
        hosts: {{ mailserver.opendkim.trusted_hosts | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-opendkim-folder

{%- if mailserver.authors %}

# Read for each message; made before the script that reads it.
mailserver-opendkim-authors:
  file.managed:
    - name: {{ opendkim.authors }}
    - source: salt://mailserver/opendkim/files/Authors.jinja
    - template: jinja
    - context:
        rows: {{ mailserver.authors.rows | json }}
    - user: root
    - group: root
    - mode: '0644'
    - show_changes: false
    - require:
        - file: mailserver-opendkim-folder

mailserver-opendkim-authors-script:
  mailserver.staged:
    - name: {{ opendkim.authors_script }}
    - source: salt://mailserver/opendkim/files/authors.lua.jinja
    - template: jinja
    - context:
        names: {{ mailserver.authors.names | json }}
        rules: {{ mailserver.authors.rules | json }}
        table: {{ opendkim.authors }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-opendkim-authors
    - require_in:
        - mailserver: mailserver-opendkim-config
{%- endif %}

mailserver-opendkim-config:
  mailserver.staged:
    - name: {{ opendkim.config }}
    - source: salt://mailserver/opendkim/files/opendkim.conf.jinja
    - template: jinja
    - context:
        authors: {{ {'names': mailserver.authors.names} | json if mailserver.authors else 'null' }}
        opendkim: {{ mailserver.opendkim | json }}
        paths: {{ opendkim | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - mailserver: mailserver-opendkim-distribution
        - dkim: mailserver-opendkim-tables
        - mailserver: mailserver-opendkim-trusted-hosts
