{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set aliases = dict(mailserver.accounts.aliases) %}
{#- With this alias mailserver/postfix/delivered.sls tests that aliases work. #}
{%- do aliases.update({mailserver.os.probe.alias: mailserver.os.probe.user}) %}

include:
  - mailserver.postfix.activated

mailserver-accounts-aliases-distribution:
  mailserver.originals_kept:
    - name: the aliases
    - files: {{ files.accounts | json }}
    - require:
        - mailserver: mailserver-postfix-in-force

mailserver-accounts-aliases-left:
  mailserver.aliases_left:
    - name: /etc/aliases
    - entries: {{ aliases | json }}
    - require:
        - mailserver: mailserver-accounts-aliases-distribution
{%- for name, targets in aliases.items() %}

mailserver-accounts-alias-{{ name }}:
  alias.present:
    - name: {{ name | json }}
    - target: {{ (targets if targets is string else targets | join(', ')) | json }}
    - require:
        - mailserver: mailserver-accounts-aliases-left
{%- endfor %}

mailserver-accounts-aliases-database:
  cmd.run:
    - name: newaliases
    - onchanges:
{%- for name in aliases %}
        - alias: mailserver-accounts-alias-{{ name }}
{%- endfor %}
        - mailserver: mailserver-accounts-aliases-left
        - mailserver: mailserver-postfix-in-force
    - require:
        - mailserver: mailserver-postfix-in-force
