include:
  - mailserver.opendkim.takeover
  - mailserver.opendkim.package
  - mailserver.opendkim.keys
  - mailserver.opendkim.config
  - mailserver.opendkim.in_force
  - mailserver.opendkim.service
  - mailserver.opendkim.signing
