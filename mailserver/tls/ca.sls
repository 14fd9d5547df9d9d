# If the pillar names Salt's own authority, it signs the key that was made here; a highstate renews the certificate in time.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set tls = mailserver.tls %}
{%- if tls.source == 'ca' %}
{%- if 'x509.sign_remote_certificate' not in salt %}
{{- raise("mailserver:tls:ca: this minion's Salt has no x509_v2. Salt 3006 needs `features: {x509_v2: true}` in the "
          ~ "configuration of the minion, and of the minion that is the authority; then restart both") }}
{%- endif %}

include:
  - mailserver.tls.certificate

mailserver-tls-ca-certificate:
  x509.certificate_managed:
    - name: {{ tls.certificate }}
    - ca_server: {{ tls.ca.server }}
    - signing_policy: {{ tls.ca.signing_policy }}
    - private_key: {{ tls.key }}
    - CN: {{ tls.names[0] }}
    - subjectAltName: {{ 'DNS:' ~ tls.names | join(', DNS:') }}
    - days_valid: 90
    - days_remaining: {{ tls.ca.days_remaining }}
{%- if tls.ca.chain %}
    - append_certs: {{ tls.ca.chain | json }}
{%- endif %}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - test: mailserver-tls-ready
{%- endif %}
