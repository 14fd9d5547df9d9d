include:
  - mailserver.opendkim.takeover
  - mailserver.opendkim.package
  - mailserver.opendkim.keys
  - mailserver.opendkim.config
  - mailserver.opendkim.activated
  - mailserver.opendkim.service
  - mailserver.opendkim.signing
