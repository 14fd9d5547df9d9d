# The other choices where the formula has one: Dovecot checks logins, a milter elsewhere, one service and protocol less.
mailserver:
  domain: example.test
  domains:
    example.test: {}
    second.example.test: {receive: false}
  sasl: {type: dovecot}
  dovecot:
    protocols: [imap]
    settings: {mail_max_userip_connections: 20}
  opendkim:
    socket: inet:8892@127.0.0.1
  postfix:
    main:
      mua_rules: permit_sasl_authenticated, reject
      smtpd_tls_eccert_file: null
    submission:
      options:
        smtpd_client_restrictions: $mua_rules
        smtpd_recipient_restrictions: [permit_sasl_authenticated, reject]
    submissions: {enabled: false}
  selinux:
    booleans: {httpd_can_sendmail: true}
  tls:
    acme: {challenge: http-01, server: https://acme.example.test/directory, ca_file: /etc/ssl/acme-root.pem}
  limits: {exempt: [198.51.100.0/24, '2001:db8:2::/48']}
  postscreen:
    enabled: true
    lists: {'bl.example.net=127.0.0.[2..9]': 3, good.example.net: -2}
    allow_threshold: -2
    access: {198.51.100.0/24: permit, 198.51.100.7: reject}
  fail2ban: {enabled: true}
