# System users with a mailbox. For an existing user only what the pillar gives is changed.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{#- The settings are shown and stored, so they have no hashes. #}
{%- set given = pillar.get('mailserver', {}).get('accounts', {}).get('users', {}) %}
{%- set users = mailserver.accounts.users %}
{%- set left = salt['mailserver.left_users'](users | list) %}
{%- set opened = users.items() | selectattr('1.enabled') | map('first') | list %}

include:
  - mailserver.kept

# Before the users are made: those that this formula makes are locked out when they leave the pillar.
mailserver-accounts-users-noted:
  mailserver.users_noted:
    - name: who is made by this formula
    - users: {{ users | list | json }}
    - require:
        - mailserver: mailserver-kept-originals
{%- for name, user in users.items() %}
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
{%- if user.password and user.enabled %}
    - password: {{ given[name].password | regex_replace('^\\{[A-Z0-9-]*CRYPT\\}', '') | json }}
{%- endif %}
    - require:
        - mailserver: mailserver-accounts-users-noted
    - require_in:
        - mailserver: mailserver-accounts-logins
{%- endfor %}

mailserver-accounts-logins:
  mailserver.logins:
    - name: users of the system
    - opened: {{ opened | json }}
    - locked: {{ (users | list | difference(opened) + left) | json }}
    - require:
        - mailserver: mailserver-accounts-users-noted
