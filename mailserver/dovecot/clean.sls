{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}

mailserver-dovecot-clean-config:
  mailserver.given_back:
    - name: Dovecot's files
    - files: {{ files.dovecot | json }}
    - unit: {{ mailserver.os.dovecot.service }}
