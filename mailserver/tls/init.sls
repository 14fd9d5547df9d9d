include:
  - mailserver.tls.package
  - mailserver.tls.certificate
  - mailserver.tls.renewal
