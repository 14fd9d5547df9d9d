{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set folder = mailserver.os.postfix.folder %}

mailserver-postfix-clean-service:
  service.dead:
    - name: {{ mailserver.os.postfix.service }}
    - enable: false
{%- for name in ('main.cf', 'master.cf') %}

mailserver-postfix-clean-{{ name }}:
  cmd.run:
    - name: mv {{ folder }}/{{ name }}.dist {{ folder }}/{{ name }}
    - onlyif: test -e {{ folder }}/{{ name }}.dist
    - require:
        - service: mailserver-postfix-clean-service
{%- endfor %}

mailserver-postfix-clean-files:
  file.absent:
    - names:
        - {{ folder }}/sender_login
{#- Those of an earlier pillar, too. #}
{%- for path in salt['file.find'](folder, name='mailserver_*', type='f') | sort %}
        - {{ path }}
{%- endfor %}
        - /usr/local/libexec/mailserver
    - require:
        - service: mailserver-postfix-clean-service
