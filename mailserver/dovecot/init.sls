include:
  - mailserver.dovecot.package
  - mailserver.dovecot.config
  - mailserver.dovecot.activated
  - mailserver.dovecot.service
