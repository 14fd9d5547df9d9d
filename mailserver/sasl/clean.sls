{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set sasl = mailserver.os.sasl %}

include:
  - mailserver.sasl.stopped

mailserver-sasl-clean-config:
  cmd.run:
    - name: mv {{ sasl.config }}.dist {{ sasl.config }}
    - onlyif: test -e {{ sasl.config }}.dist

mailserver-sasl-clean-files:
  file.absent:
    - names:
        - {{ mailserver.os.postfix.sasl_folder }}/smtpd.conf
        - /etc/systemd/system/{{ sasl.service }}.service.d/mailserver.conf
        - /etc/pam.d/mailserver-smtp
        - /etc/pam.d/mailserver-dovecot
        - /etc/mailserver/login-users
{%- if mailserver.os.postfix.chroot %}
        - {{ mailserver.os.postfix.queue }}{{ mailserver.os.postfix.queue }}
{%- endif %}
