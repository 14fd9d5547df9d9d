# An address that answers any message with what a receiver finds (mailserver:reflector); without an address, none of it.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
{%- if mailserver.reflector.address %}
  - mailserver.reflector.config
  - mailserver.reflector.service
{%- else %}
  - mailserver.reflector.clean
{%- endif %}
