# Two domains on each host with all records there are; how they are published is added by the test. Policies are served.
{%- set domains = {'mx1': ['alpha.test', 'delta.test'], 'mx2': ['beta.test', 'gamma.test']}[grains['id']] %}
mailserver:
  domain: {{ domains[0] }}
  domains:
{%- for name in domains %}
    {{ name }}:
      ttl: 60
      dmarc: {p: reject}
      mta_sts: {mode: testing, max_age: 1d}
      tls_rpt: {rua: ['mailto:tls@{{ name }}']}
{%- endfor %}
  mta_sts:
    serve: nginx
    certificate: /etc/ssl/lab/mta-sts.{domain}.pem
    key: /etc/ssl/lab/mta-sts.{domain}.key
    listen: ['443']
