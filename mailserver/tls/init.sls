include:
  - mailserver.tls.package
  - mailserver.tls.certificate
  - mailserver.tls.ca
  - mailserver.tls.renewal
  - mailserver.tls.acme
