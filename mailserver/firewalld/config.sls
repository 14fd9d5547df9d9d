# Permanent and running firewall alike; what else the zone allows is left alone.
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
