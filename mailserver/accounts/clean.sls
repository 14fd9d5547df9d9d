# Users and their mail stay.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-accounts-clean-aliases:
  mailserver.aliases_given_back:
    - name: /etc/aliases
    - entries: {{ (mailserver.accounts.aliases.keys() | list + [mailserver.os.probe.alias]) | json }}

mailserver-accounts-clean-virtual:
  file.absent:
    - name: {{ mailserver.os.accounts.folder }}
