# Close the mail ports. The firewall itself keeps running, since it protects more than mail.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-firewalld-clean:
  mailserver.firewall_closed:
    - name: {{ mailserver.firewalld.zone }}
    # mta_sts/clean.sls decides whether to close https: other sites may need it.
    - services: {{ mailserver.firewalld.services | reject('equalto', 'https') | list | json }}
    - ports: {{ mailserver.firewalld.ports | json }}
