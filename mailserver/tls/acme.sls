# If the pillar asks for ACME, certbot gets the first certificate, and its own timer renews it.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set system, tls = mailserver.os.tls, mailserver.tls %}
{%- if tls.source == 'acme' %}
{%- set live = system.acme.folder ~ '/live/mailserver' %}
{%- set timer = system.certbot.service ~ '.timer' %}
{%- set http = tls.acme.challenge == 'http-01' and mailserver.firewalld.enabled %}

include:
  - mailserver.tls.certificate
  - mailserver.tls.renewal
{%- if http %}
  - mailserver.firewalld
{%- endif %}

mailserver-tls-acme-packages:
  pkg.installed:
    - pkgs: {{ system.certbot.packages[tls.acme.challenge] | json }}
{%- if tls.acme.challenge == 'dns-01' %}

mailserver-tls-acme-credentials:
  mailserver.acme_credentials:
    - name: {{ system.acme.credentials }}
    - rfc2136: {{ mailserver.dns.rfc2136 | json }}
    - require_in:
        - mailserver: mailserver-tls-acme-issued
{%- endif %}
{%- if tls.acme.ca_file %}

# Without this, the certbot that the timer runs would not know the authority's root.
mailserver-tls-acme-root:
  file.managed:
    - name: /etc/systemd/system/{{ system.certbot.service }}.service.d/mailserver.conf
    - contents: |
        # Written by Salt (mailserver/tls); change the pillar mailserver:tls:acme, not this file.
        [Service]
        Environment=REQUESTS_CA_BUNDLE={{ tls.acme.ca_file }}
    - makedirs: true
    - user: root
    - group: root
    - mode: '0644'
{%- else %}

mailserver-tls-acme-root:
  file.absent:
    - name: /etc/systemd/system/{{ system.certbot.service }}.service.d/mailserver.conf
{%- endif %}

mailserver-tls-acme-root-read:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
        - file: mailserver-tls-acme-root

mailserver-tls-acme-issued:
  mailserver.acme_issued:
    - name: mailserver
    - dns_names: {{ tls.names | json }}
    - acme: {{ tls.acme | json }}
    - folder: {{ system.acme.folder }}
    - credentials: {{ system.acme.credentials }}
    - reuse_key: {{ tls.tlsa | json }}
    - require:
        - pkg: mailserver-tls-acme-packages
        - file: mailserver-tls-acme-root
{%- if http %}
        - mailserver: mailserver-firewalld-open
{%- endif %}

mailserver-tls-acme-served:
  mailserver.command:
    - name: /usr/local/libexec/mailserver/serve-certificate {{ tls.certificate }} {{ tls.key }} {{ live }}/fullchain.pem {{ live }}/privkey.pem
    - done: >-
        test ! -e {{ live }}/fullchain.pem ||
        { cmp -s {{ live }}/fullchain.pem {{ tls.certificate }} && cmp -s {{ live }}/privkey.pem {{ tls.key }}; }
    - require:
        - mailserver: mailserver-tls-acme-issued
        - file: mailserver-tls-serve
        - test: mailserver-tls-ready

mailserver-tls-acme-timer:
  service.running:
    - name: {{ timer }}
    - enable: true
    - require:
        - pkg: mailserver-tls-acme-packages
{%- endif %}
