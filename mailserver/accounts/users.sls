# System users with a mailbox.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- for name, user in mailserver.accounts.users.items() %}

mailserver-accounts-user-{{ name }}:
  user.present:
    - name: {{ name }}
    - fullname: {{ user.fullname | json }}
    - shell: {{ user.shell }}
{%- if user.password %}
    - password: {{ user.password | json }}
{%- endif %}
{%- endfor %}
