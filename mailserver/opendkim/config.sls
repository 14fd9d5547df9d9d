{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}

include:
  - mailserver.opendkim.package
  - mailserver.opendkim.takeover

mailserver-opendkim-distribution:
  mailserver.command:
    - name: test ! -e {{ opendkim.config }} || cp -a {{ opendkim.config }} {{ opendkim.config }}.dist
    - done: test -e {{ opendkim.config }}.dist
    - require:
        - pkg: mailserver-opendkim-packages

mailserver-opendkim-folder:
  file.directory:
    - name: {{ opendkim.folder }}
    - user: root
    - group: root
    - mode: '0755'
    - require:
        - pkg: mailserver-opendkim-packages

# Who signs is dkim.signing's to write: here the tables only have to exist, or OpenDKIM does not start.
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

mailserver-opendkim-config:
  mailserver.staged:
    - name: {{ opendkim.config }}
    - source: salt://mailserver/opendkim/files/opendkim.conf.jinja
    - template: jinja
    - context:
        opendkim: {{ mailserver.opendkim | json }}
        paths: {{ opendkim | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - mailserver: mailserver-opendkim-distribution
        - dkim: mailserver-opendkim-tables
        - mailserver: mailserver-opendkim-trusted-hosts
