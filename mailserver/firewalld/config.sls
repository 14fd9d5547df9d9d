# For the permanent and the running firewall; whatever else the zone allows is left alone.
{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.firewalld.service

mailserver-firewalld-open:
  mailserver.firewall_open:
    - name: {{ mailserver.firewalld.zone }}
    - services: {{ mailserver.firewalld.services | json }}
    - ports: {{ mailserver.firewalld.ports | json }}
    - require:
        - service: mailserver-firewalld-service

mailserver-firewalld-passable:
  mailserver.firewall_passable:
    - name: {{ mailserver.firewalld.zone }}
    - service: {{ mailserver.os.firewalld.service }}
    - require:
        - service: mailserver-firewalld-service
        - cmd: mailserver-firewalld-minion-reconnects
