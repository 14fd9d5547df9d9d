include:
  - mailserver.postfix.package
  - mailserver.postfix.log
  - mailserver.postfix.config
  - mailserver.postfix.activated
  - mailserver.postfix.service
  - mailserver.postfix.delivered
