# SMTP logins: saslauthd, or nothing here if Dovecot checks them.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
{%- if mailserver.sasl.type == 'cyrus' %}
  - mailserver.sasl.package
  - mailserver.sasl.config
  - mailserver.sasl.service
{%- else %}
  - mailserver.sasl.stopped
{%- endif %}
