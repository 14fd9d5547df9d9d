# System users with a mailbox. Of one that the host has already, only what the pillar gives is changed.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{#- The settings are shown and stored, and have no hashes. #}
{%- set given = pillar.get('mailserver', {}).get('accounts', {}).get('users', {}) %}
{%- for name, user in mailserver.accounts.users.items() %}
{%- set shell = user.shell or ('' if salt['user.info'](name) else '/usr/sbin/nologin') %}

mailserver-accounts-user-{{ name }}:
  user.present:
    - name: {{ name }}
{%- if user.fullname is not none %}
    - fullname: {{ user.fullname | json }}
{%- endif %}
{%- if shell %}
    - shell: {{ shell }}
{%- endif %}
{%- if user.password %}
    - password: {{ given[name].password | regex_replace('^\\{[A-Z0-9-]*CRYPT\\}', '') | json }}
{%- endif %}
{%- endfor %}
