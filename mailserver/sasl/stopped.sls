# Dovecot checks logins, so saslauthd, if it was ever there, is not needed.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-sasl-stopped:
  mailserver.command:
    - name: systemctl stop {{ mailserver.os.sasl.service }} && systemctl disable {{ mailserver.os.sasl.service }}
    - done: >-
        ! systemctl is-active --quiet {{ mailserver.os.sasl.service }} &&
        ! systemctl is-enabled --quiet {{ mailserver.os.sasl.service }}
