# On the master: make the publisher publish the records that the mail host `mailserver_publish` put into the mine: key
# records, or with `mailserver_records` those of its domains' policies.
# The master's own pillar decides who publishes for that host, and for which domains, never the host itself. The host's
# name may come from an event, which a minion can forge: it is accepted as the name of one minion, or not at all.
{%- set host = pillar.get('mailserver_publish') or raise('mailserver: whose records? pillar={mailserver_publish: MINION}') %}
{%- if host is not string or (host | length) > 255 or not host | regex_match('([A-Za-z0-9_][A-Za-z0-9_.:@+-]*)\\Z') %}
{{- raise('mailserver: an event names a host that is no minion; nothing was published') }}
{%- endif %}
{%- set theirs = salt['saltutil.runner']('pillar.show_pillar', arg=[host]).get('mailserver') or {} %}
{%- set dns = theirs.get('dns') or {} %}
{%- set central = dns.get('central') or {} %}
{%- set zones = dns.get('alias_zones') or [] %}
{%- set domains = theirs.get('domains') or {} %}
{%- set said = {} %}
{%- for name, domain in domains.items() %}
{%- set domain = domain or {} %}
{%- set spf = domain.get('spf') or {} %}
{%- set given = spf.get('addresses') or domain.get('addresses') %}
{%- set hosts = spf.get('hosts') or (not given and domain.get('hosts')) or [] %}
{%- set addresses = given or (not hosts and theirs.get('addresses')) or None %}
{%- do said.update({name: {'spf': dict(spf, addresses=addresses, hosts=hosts), 'dmarc': domain.get('dmarc'),
                           'mta_sts': domain.get('mta_sts'), 'tls_rpt': domain.get('tls_rpt')} }) %}
{%- endfor %}
{%- if not central.get('publisher') %}
{{- raise('mailserver: the pillar of ' ~ host ~ ' names no mailserver:dns:central:publisher') }}
{%- endif %}

mailserver-publish:
  salt.function:
    - name: {{ 'mailserver' if pillar.get('mailserver_records') else 'dkim' }}.publish_for
    - tgt: {{ central.publisher | json }}
    - tgt_type: {{ central.get('publisher_type', 'glob') | json }}
    - kwarg:
        minion: {{ host | json }}
        domains: {{ domains | list | json }}
{%- if pillar.get('mailserver_records') %}
        pillar: {{ said | json }}
{%- elif zones %}
        zones: {{ zones | list | json }}
{%- endif %}
