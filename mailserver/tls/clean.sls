{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set acme = mailserver.os.tls.acme %}

# certbot's own timer stays: it may have other certificates to renew.
mailserver-tls-clean-acme:
  cmd.run:
    - name: certbot delete --non-interactive --cert-name mailserver
    - onlyif: test -e {{ acme.folder }}/renewal/mailserver.conf && command -v certbot

mailserver-tls-clean-renewal:
  service.dead:
    - name: mailserver-certificate.path
    - enable: false

mailserver-tls-clean:
  file.absent:
    - names:
        - {{ mailserver.os.tls.folder }}
        - /usr/local/libexec/mailserver/serve-certificate
        - /run/mailserver-certificate
        - /etc/systemd/system/mailserver-certificate.path
        - /etc/systemd/system/mailserver-certificate.service
        - /etc/systemd/system/{{ mailserver.os.tls.certbot.service }}.service.d/mailserver.conf
        - {{ acme.credentials }}
    - require:
        - service: mailserver-tls-clean-renewal
        - cmd: mailserver-tls-clean-acme

mailserver-tls-clean-units:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
        - file: mailserver-tls-clean
