# The hand-written procedure that this formula replaces, value for value (docs/effects.md has its 32 effects).
# It is weaker than the formula's defaults; pillar.example says at each value what it costs.
{%- set domain, address = {
  'mx1': ('alpha.test', '198.18.0.21'),
  'mx2': ('beta.test', '198.18.0.22'),
}.get(grains['id'], ('example.test', '192.0.2.25')) %}
mailserver:
  domain: {{ domain }}
  domains:
    {{ domain }}:
      ttl: 120
      spf:
        record: v=spf1 +ip4:{{ address }} -all
      dmarc:
        p: none
        rua: ['mailto:dmarc-ra@{{ domain }}']
        ruf: ['mailto:dmarc@{{ domain }}']
      dkim:
        selector: '{date}'
  postfix:
    main:
      message_size_limit: 10485760
      smtpd_tls_auth_only: false
      smtpd_sasl_auth_enable: true
      smtpd_sasl_local_domain: $mydomain
      broken_sasl_auth_clients: true
      smtpd_client_restrictions: [permit_mynetworks, reject_unknown_client_hostname]
      milter_default_action: accept
    submission:
      safe_options: false
      chroot: false
    submissions:
      enabled: false
  dovecot:
    protocols: [imap, pop3, lmtp]
    allow_cleartext_auth: true
  opendkim:
    signing_table: refile
  firewalld:
    services: [pop3, imap]
    ports: [587/tcp, 25/tcp]
  accounts:
    users:
      alice: {password: '$6$mailserver$7B9P/V2ZHEwQt8L.QCgqDBeeps2FtPdu49vM.eEBB3YpUFwY6n6tjw26p2Z6AZrDQ3FapBFx6CREaH7JfAwJJ1'}
