# On the master: have the publisher look after the records that the mail host `mailserver_publish` put into the mine.
# Who publishes, and for which domains, is what the master's own pillar says of that host, never what the host says.
{%- set host = pillar.get('mailserver_publish') or raise('mailserver: whose records? pillar={mailserver_publish: MINION}') %}
{%- set theirs = salt['saltutil.runner']('pillar.show_pillar', arg=[host]).get('mailserver', {}) %}
{%- set central = theirs.get('dns', {}).get('central', {}) %}
{%- if not central.get('publisher') %}
{{- raise('mailserver: the pillar of ' ~ host ~ ' names no mailserver:dns:central:publisher') }}
{%- endif %}

mailserver-publish:
  salt.function:
    - name: dkim.publish_for
    - tgt: {{ central.publisher | json }}
    - tgt_type: {{ central.get('publisher_type', 'glob') }}
    - kwarg:
        minion: {{ host | json }}
        domains: {{ theirs.get('domains', {}) | list | json }}
