# A renewed certificate is served at once, whoever renewed it.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set live = mailserver.os.tls.acme.folder ~ '/live/mailserver' %}
{%- set issued = [live ~ '/fullchain.pem', live ~ '/privkey.pem'] if mailserver.tls.source == 'acme' else [] %}

include:
  - mailserver.tls.certificate

mailserver-tls-serve:
  file.managed:
    - name: /usr/local/libexec/mailserver/serve-certificate
    - source: salt://mailserver/tls/files/serve-certificate
    - makedirs: true
    - user: root
    - group: root
    - mode: '0755'
{%- for unit in ('service', 'path') %}

mailserver-tls-renewal-{{ unit }}:
  file.managed:
    - name: /etc/systemd/system/mailserver-certificate.{{ unit }}
    - source: salt://mailserver/tls/files/mailserver-certificate.{{ unit }}.jinja
    - template: jinja
    - context:
        certificate: {{ mailserver.tls.certificate or mailserver.os.tls.certificate }}
        key: {{ mailserver.tls.key or mailserver.os.tls.key }}
        issued: {{ issued | json }}
    - user: root
    - group: root
    - mode: '0644'
{%- endfor %}

mailserver-tls-renewal:
  service.running:
    - name: mailserver-certificate.path
    - enable: true
    - require:
        - test: mailserver-tls-ready
        - file: mailserver-tls-serve
    - watch:
        - file: mailserver-tls-renewal-service
        - file: mailserver-tls-renewal-path
