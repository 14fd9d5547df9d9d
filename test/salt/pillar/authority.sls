# A certificate of Salt's own authority.
mailserver:
  domain: example.test
  domains:
    example.test: {}
  tls:
    ca: {server: ca, signing_policy: mail}
