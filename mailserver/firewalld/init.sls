include:
  - mailserver.firewalld.package
  - mailserver.firewalld.service
  - mailserver.firewalld.config
