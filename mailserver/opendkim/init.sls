include:
  - mailserver.opendkim.package
  - mailserver.opendkim.keys
  - mailserver.opendkim.config
  - mailserver.opendkim.service
  - mailserver.opendkim.signing
