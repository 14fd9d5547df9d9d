# Block clients that guess passwords from the mail ports; if the pillar does not enable this, remove an earlier run's files.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
{%- if mailserver.fail2ban.enabled %}
  - mailserver.fail2ban.package
  - mailserver.fail2ban.config
  - mailserver.fail2ban.service
{%- else %}
  - mailserver.fail2ban.clean
{%- endif %}
