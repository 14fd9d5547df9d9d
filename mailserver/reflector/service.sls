# Test each time that the reflector's user can run it: Salt's Python and its packages belong to root, and may change.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set reflector = mailserver.os.reflector %}
{%- set check = 'runuser -u ' ~ reflector.user ~ ' -- ' ~ reflector.program ~ ' --check' %}

include:
  - mailserver.reflector.config
  - mailserver.python

mailserver-reflector-ready:
  mailserver.command:
    - name: {{ check }}
    - done: {{ check }}
    - require:
        - file: mailserver-reflector-program
        - sls: mailserver.python
