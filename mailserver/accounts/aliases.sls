{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.postfix.config
{%- for name, targets in mailserver.accounts.aliases.items() %}

mailserver-accounts-alias-{{ name }}:
  alias.present:
    - name: {{ name | json }}
    - target: {{ (targets if targets is string else targets | join(', ')) | json }}
    - require:
        - file: mailserver-postfix-main
{%- endfor %}

mailserver-accounts-aliases-database:
  cmd.run:
    - name: newaliases
    - onchanges:
{%- for name in mailserver.accounts.aliases %}
        - alias: mailserver-accounts-alias-{{ name }}
{%- endfor %}
        - file: mailserver-postfix-main
    - require:
        - file: mailserver-postfix-main
