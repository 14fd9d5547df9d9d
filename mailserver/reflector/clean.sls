{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set reflector = mailserver.os.reflector %}

mailserver-reflector-clean-files:
  file.absent:
    - names:
        - {{ reflector.program }}
        - {{ reflector.folder }}
        - {{ reflector.state }}
        - /etc/mailserver/reflector.json

mailserver-reflector-clean-user:
  user.absent:
    - name: {{ reflector.user }}
