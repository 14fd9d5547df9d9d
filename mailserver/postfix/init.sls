include:
  - mailserver.postfix.package
  - mailserver.postfix.config
  - mailserver.postfix.service
