# The gate: a key signs only after DNS shows it everywhere. Nothing else requires these states, so nothing waits for DNS.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}
{%- set domains = salt['mailserver.packed'](mailserver.domains, ['dkim']) %}

include:
  - mailserver.opendkim.service
  - mailserver.opendkim.keys
  - mailserver.summary

mailserver-opendkim-published:
  dkim.published:
    - name: {{ opendkim['keys'] }}
    - domains: {{ domains | json }}
    - dns: {{ mailserver.dns | json }}
    - key_table: {{ opendkim.key_table }}
    - signing_table: {{ opendkim.signing_table }}
    - host: {{ mailserver.hostname }}
    - user: {{ opendkim.user }}
    - group: {{ opendkim.group }}
    - require:
        - dkim: mailserver-opendkim-keys

mailserver-opendkim-signing:
  dkim.signing:
    - name: {{ opendkim['keys'] }}
    - domains: {{ domains | json }}
    - dns: {{ mailserver.dns | json }}
    - key_table: {{ opendkim.key_table }}
    - signing_table: {{ opendkim.signing_table }}
    - socket: {{ mailserver.opendkim.socket }}
    - service: {{ opendkim.service }}
    - user: {{ opendkim.user }}
    - group: {{ opendkim.group }}
    - require:
        - dkim: mailserver-opendkim-keys
        - service: mailserver-opendkim-service
