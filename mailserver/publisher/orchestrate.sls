# On the master: have the publisher look after the records that the mail host `mailserver_publish` put into the mine: those
# of keys, or with `mailserver_records` those of its domains' policies.
# Who publishes, and for which domains, is what the master's own pillar says of that host, never what the host says.
{%- set host = pillar.get('mailserver_publish') or raise('mailserver: whose records? pillar={mailserver_publish: MINION}') %}
{%- set theirs = salt['saltutil.runner']('pillar.show_pillar', arg=[host]).get('mailserver', {}) %}
{%- set central = theirs.get('dns', {}).get('central', {}) %}
{%- set domains = theirs.get('domains', {}) %}
{%- set said = {} %}
{%- for name, domain in domains.items() %}
{%- set domain = domain or {} %}
{%- set spf = domain.get('spf') or {} %}
{%- set addresses = spf.get('addresses') or domain.get('addresses') or theirs.get('addresses') %}
{%- do said.update({name: {'spf': dict(spf, addresses=addresses), 'dmarc': domain.get('dmarc'),
                           'mta_sts': domain.get('mta_sts'), 'tls_rpt': domain.get('tls_rpt')} }) %}
{%- endfor %}
{%- if not central.get('publisher') %}
{{- raise('mailserver: the pillar of ' ~ host ~ ' names no mailserver:dns:central:publisher') }}
{%- endif %}

mailserver-publish:
  salt.function:
    - name: {{ 'mailserver' if pillar.get('mailserver_records') else 'dkim' }}.publish_for
    - tgt: {{ central.publisher | json }}
    - tgt_type: {{ central.get('publisher_type', 'glob') }}
    - kwarg:
        minion: {{ host | json }}
        domains: {{ domains | list | json }}
{%- if pillar.get('mailserver_records') %}
        pillar: {{ said | json }}
{%- endif %}
