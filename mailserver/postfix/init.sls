include:
  - mailserver.postfix.package
  - mailserver.postfix.log
  - mailserver.postfix.config
  - mailserver.postfix.in_force
  - mailserver.postfix.service
  - mailserver.postfix.delivered
