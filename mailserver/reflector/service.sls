# Whether the reflector's user can run it: Salt's Python and its packages belong to root.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set reflector = mailserver.os.reflector %}

include:
  - mailserver.reflector.config
{%- if mailserver.python.install %}
  - mailserver.python
{%- endif %}

mailserver-reflector-ready:
  cmd.run:
    - name: runuser -u {{ reflector.user }} -- {{ reflector.program }} --check
    - onchanges:
        - file: mailserver-reflector-program
        - file: mailserver-reflector-modules
        - file: mailserver-reflector-settings
        - user: mailserver-reflector-user
    - require:
        - file: mailserver-reflector-program
{%- if mailserver.python.install %}
        - sls: mailserver.python
{%- endif %}
