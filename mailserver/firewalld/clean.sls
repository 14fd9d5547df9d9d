# The mail ports are closed; the firewall itself keeps running, since it protects more than mail.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-firewalld-clean:
  mailserver.firewall_closed:
    - name: {{ mailserver.firewalld.zone }}
    - services: {{ mailserver.firewalld.services | json }}
    - ports: {{ mailserver.firewalld.ports | json }}
