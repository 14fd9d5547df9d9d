# All records except DKIM's: compare them with DNS, and show what is missing, ready to publish. Blocks no other state.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.dns.check %}

mailserver-dns-records:
  mailserver.records_published:
    - name: records of {{ mailserver.domains | length }} domains
    - settings: {{ {'domains': salt['mailserver.packed'](mailserver.domains), 'hostname': mailserver.hostname,
                    'addresses': mailserver.addresses, 'dns': mailserver.dns, 'tls': mailserver.tls,
                    'os': {'tls': mailserver.os.tls}, 'families': mailserver.families,
                    'own_addresses': mailserver.own_addresses} | json | json }}
    - order: -1
{%- endif %}
