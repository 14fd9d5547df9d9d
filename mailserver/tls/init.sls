include:
  - mailserver.tls.package
  - mailserver.tls.certificate
