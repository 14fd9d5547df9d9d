{%- from 'mailserver/map.jinja' import mailserver with context %}

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
    - require:
        - service: mailserver-tls-clean-renewal

mailserver-tls-clean-units:
  cmd.run:
    - name: systemctl daemon-reload
    - onchanges:
        - file: mailserver-tls-clean
