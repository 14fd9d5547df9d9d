{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set folder = mailserver.os.postfix.folder %}

mailserver-postfix-clean-config:
  mailserver.given_back:
    - name: Postfix's files
    - files: {{ files.postfix | json }}
    - unit: {{ mailserver.os.postfix.service }}

mailserver-postfix-clean-files:
  file.absent:
    - names:
{#- Also those of an earlier pillar. #}
{%- for path in salt['file.find'](folder, name='mailserver_*', type='f') | sort %}
        - {{ path }}
{%- endfor %}
        - /usr/local/libexec/mailserver
        - /etc/logrotate.d/mailserver-postfix
    - require:
        - mailserver: mailserver-postfix-clean-config
