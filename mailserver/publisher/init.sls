# Everything for a minion that publishes for others; you put its credential there (mailserver:dns:rfc2136:key_file).
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
  - mailserver.python
