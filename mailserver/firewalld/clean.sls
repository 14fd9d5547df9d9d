# The mail ports are closed; the firewall itself keeps running, since it protects more than mail.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-firewalld-clean:
  mailserver.firewall_closed:
    - name: {{ mailserver.firewalld.zone }}
    # Whether https is to be closed, mta_sts/clean.sls finds out: other sites may need it.
    - services: {{ mailserver.firewalld.services | reject('equalto', 'https') | list | json }}
    - ports: {{ mailserver.firewalld.ports | json }}
