# Before OpenDKIM is touched: make mail wait while it is restarted, whatever a hand-made main.cf says.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}

include:
  - mailserver.kept

mailserver-postfix-waits:
  mailserver.mail_waits:
    - name: {{ mailserver.os.postfix.folder }}
    - files: {{ files.postfix | json }}
    - require:
        - mailserver: mailserver-kept-originals
    - order: 3
