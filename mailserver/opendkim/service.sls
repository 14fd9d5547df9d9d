{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.opendkim.config
  - mailserver.opendkim.keys
{%- if mailserver.selinux.enabled %}
  - mailserver.selinux
{%- endif %}

mailserver-opendkim-service:
  service.running:
    - name: {{ mailserver.os.opendkim.service }}
    - enable: true
    - require:
        - pkg: mailserver-opendkim-packages
{%- if mailserver.selinux.enabled %}
        - sls: mailserver.selinux
{%- endif %}
    - watch:
        - file: mailserver-opendkim-config
        - file: mailserver-opendkim-trusted-hosts
