{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set sasl = mailserver.os.sasl %}

mailserver-sasl-clean-config:
  mailserver.given_back:
    - name: files of SMTP logins
    - files: {{ files.sasl | json }}
    - unit: {{ sasl.service }}

mailserver-sasl-clean-files:
  file.absent:
    - names:
        - /etc/systemd/system/{{ sasl.service }}.service.d/mailserver.conf
        - /etc/pam.d/mailserver-smtp
        - /etc/pam.d/mailserver-dovecot
        - /etc/mailserver/login-users
    - require:
        - mailserver: mailserver-sasl-clean-config
