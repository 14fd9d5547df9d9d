include:
  - mailserver.dovecot.package
  - mailserver.dovecot.config
  - mailserver.dovecot.service
