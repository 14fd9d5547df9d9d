# System users with a mailbox.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{#- The settings are shown and stored, and have no hashes. #}
{%- set given = pillar.get('mailserver', {}).get('accounts', {}).get('users', {}) %}
{%- for name, user in mailserver.accounts.users.items() %}

mailserver-accounts-user-{{ name }}:
  user.present:
    - name: {{ name }}
    - fullname: {{ user.fullname | json }}
    - shell: {{ user.shell }}
{%- if user.password %}
    - password: {{ given[name].password | json }}
{%- endif %}
{%- endfor %}
