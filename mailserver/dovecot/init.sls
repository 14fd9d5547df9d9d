include:
  - mailserver.dovecot.package
  - mailserver.dovecot.config
  - mailserver.dovecot.in_force
  - mailserver.dovecot.service
