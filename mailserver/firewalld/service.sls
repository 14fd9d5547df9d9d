{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.firewalld.package

mailserver-firewalld-service:
  service.running:
    - name: {{ mailserver.os.firewalld.service }}
    - enable: true
    - require:
        - pkg: mailserver-firewalld-packages

# A firewall that has just begun to look takes what the master sends on the minion's open connection for a stranger's:
# the minion would be deaf until its next keepalive (300 s). Cut, and the minion opens a new one at once.
mailserver-firewalld-minion-reconnects:
  cmd.run:
    - name: ss -K -t state established dport = :{{ salt['config.get']('publish_port', 4505) }} || true
    - onchanges:
        - pkg: mailserver-firewalld-packages
        - service: mailserver-firewalld-service
