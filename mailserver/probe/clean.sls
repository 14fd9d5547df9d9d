{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set probe = mailserver.os.probe %}

# Postfix, which might deliver there once more, is stopped at this point.
include:
  - mailserver.postfix.clean

mailserver-probe-clean-user:
  user.absent:
    - name: {{ probe.user }}
    - require:
        - mailserver: mailserver-postfix-clean-config

mailserver-probe-clean-folder:
  file.absent:
    - name: {{ probe.folder }}
    - require:
        - user: mailserver-probe-clean-user
