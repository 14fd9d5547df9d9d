# Keys and their manifests stay: without them, mail that is on its way could no longer be verified.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set opendkim = mailserver.os.opendkim %}

# Where Postfix goes on, it has mail wait from now on, whatever the pillar says of a milter that is away.
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
