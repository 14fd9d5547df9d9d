# Clients that guess passwords find the mail ports shut; without the pillar's leave what an earlier run put there goes.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
{%- if mailserver.fail2ban.enabled %}
  - mailserver.fail2ban.package
  - mailserver.fail2ban.config
  - mailserver.fail2ban.service
{%- else %}
  - mailserver.fail2ban.clean
{%- endif %}
