# Two domains on each host, whose keys are to live quickly; how they are published is added by each test.
{%- set domains = {'mx1': ['alpha.test', 'delta.test'], 'mx2': ['beta.test', 'gamma.test']}[grains['id']] %}
mailserver:
  domain: {{ domains[0] }}
  domains:
    {{ domains[0] }}: {ttl: 60}
    {{ domains[1] }}: {ttl: 60}
