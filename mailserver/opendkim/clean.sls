# Keys and their manifests stay: without them, mail in transit could no longer be verified.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set opendkim = mailserver.os.opendkim %}

# If Postfix goes on, it makes mail wait from now on, whatever the pillar says about a milter that is down.
mailserver-opendkim-clean-config:
  mailserver.given_back:
    - name: OpenDKIM's files
    - files: {{ files.opendkim | json }}
    - unit: {{ opendkim.service }}
    - tables: {{ files.opendkim[1:] | json }}
    - modes: true
    - milter_of: {{ mailserver.os.postfix.folder }}

mailserver-opendkim-clean-files:
  file.absent:
    - names:
        - {{ opendkim.authors }}
        - {{ opendkim.authors_script }}
        - /etc/systemd/system/{{ opendkim.service }}.service.d/mailserver.conf
        - /etc/mailserver/dkim.json
    - require:
        - mailserver: mailserver-opendkim-clean-config
