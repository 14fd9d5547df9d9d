# Dovecot checks logins: saslauthd, if it was ever there, is not needed.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-sasl-stopped:
  service.dead:
    - name: {{ mailserver.os.sasl.service }}
    - enable: false
    - onlyif: systemctl is-active --quiet {{ mailserver.os.sasl.service }}
