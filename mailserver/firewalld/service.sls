{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.firewalld.package

mailserver-firewalld-service:
  service.running:
    - name: {{ mailserver.os.firewalld.service }}
    - enable: true
    - require:
        - pkg: mailserver-firewalld-packages

# A firewall that has just started treats the master's packets on the minion's open connection as a stranger's: the
# minion would hear nothing until its next keepalive (300 s). So cut the connection; the minion opens a new one at once.
mailserver-firewalld-minion-reconnects:
  cmd.run:
    - name: ss -K -t state established dport = :{{ salt['config.get']('publish_port', 4505) }} || true
    - onchanges:
        - pkg: mailserver-firewalld-packages
        - service: mailserver-firewalld-service
