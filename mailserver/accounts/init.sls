{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
  - mailserver.accounts.users
  - mailserver.accounts.aliases
{%- if mailserver.accounts.type == 'virtual' %}
  - mailserver.accounts.virtual
  - mailserver.accounts.sieve
{%- endif %}
