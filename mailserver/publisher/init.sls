# What the minion needs that publishes for others; its credential is put there by you (mailserver:dns:rfc2136:key_file).
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
  - mailserver.python
