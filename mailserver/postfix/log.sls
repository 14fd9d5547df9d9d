# Postfix's own log file, if the pillar asks for one: made before anything reads it, and rotated.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set log, rotation = mailserver.postfix.log, '/etc/logrotate.d/mailserver-postfix' %}
{%- if log %}

include:
  - mailserver.postfix.package

mailserver-postfix-log-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.postfix.log_packages | json }}

# postlogd(8) opens it as root; its group is the one that may read logs on this distribution.
mailserver-postfix-log:
  file.managed:
    - name: {{ log }}
    - replace: false
    - makedirs: true
    - user: root
    - mode: '0640'
    - require:
        - pkg: mailserver-postfix-packages

mailserver-postfix-log-rotated:
  file.managed:
    - name: {{ rotation }}
    - source: salt://mailserver/postfix/files/logrotate.jinja
    - template: jinja
    - context:
        log: {{ log }}
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: logrotate --debug --state /dev/null
    - require:
        - pkg: mailserver-postfix-log-packages
        - file: mailserver-postfix-log
{%- else %}

mailserver-postfix-log-not-rotated:
  file.absent:
    - name: {{ rotation }}
{%- endif %}
