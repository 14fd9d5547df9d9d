# A configuration that somebody made by hand: check it before OpenDKIM or Postfix is touched, then copy its keys.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}
{%- set wanted %}
    - name: {{ opendkim.config }}
    - domains: {{ salt['mailserver.packed'](mailserver.domains, ['dkim']) | json }}
    - opendkim: {{ mailserver.opendkim | json }}
    - hostname: {{ mailserver.hostname }}
    - addresses: {{ mailserver.addresses | json }}
    - paths: {{ opendkim | json }}
{%- endset %}

include:
  - mailserver.opendkim.package

mailserver-opendkim-found:
  dkim.found:
{{- wanted }}
    # Before everything else. If it fails, nothing else is done: half of the change would be worse than none.
    - order: 1
    - failhard: {{ not opts.get('test', false) }}

mailserver-opendkim-taken-over:
  dkim.taken_over:
{{- wanted }}
    - require:
        - dkim: mailserver-opendkim-found
        - pkg: mailserver-opendkim-packages
