# Users and their mail stay.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- for name in mailserver.accounts.aliases if name != 'postmaster' %}

mailserver-accounts-clean-alias-{{ name }}:
  alias.absent:
    - name: {{ name | json }}
{%- endfor %}

mailserver-accounts-clean-virtual:
  file.absent:
    - name: {{ mailserver.os.accounts.folder }}
