# Keys and their manifests stay: without them, mail that is on its way could no longer be verified.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}

mailserver-opendkim-clean-service:
  service.dead:
    - name: {{ opendkim.service }}
    - enable: false

mailserver-opendkim-clean-config:
  cmd.run:
    - name: mv {{ opendkim.config }}.dist {{ opendkim.config }}
    - onlyif: test -e {{ opendkim.config }}.dist
    - require:
        - service: mailserver-opendkim-clean-service

mailserver-opendkim-clean-files:
  file.absent:
    - names:
        - {{ opendkim.key_table }}
        - {{ opendkim.signing_table }}
        - {{ opendkim.signing_table }}.domains
        - {{ opendkim.trusted_hosts }}
        - {{ opendkim.authors }}
        - {{ opendkim.authors_script }}
        - /etc/systemd/system/{{ opendkim.service }}.service.d/mailserver.conf
        - /etc/mailserver/dkim.json
    - require:
        - service: mailserver-opendkim-clean-service
