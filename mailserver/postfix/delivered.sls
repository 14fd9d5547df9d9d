# Test that mail flows where no other state tests it: after a first run, for aliases, tables, and mailboxes that IMAP does
# not show.
{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.probe
  - mailserver.postfix.activated
  - mailserver.postfix.service
  - mailserver.accounts.aliases
{%- if mailserver.dovecot.enabled %}
  - mailserver.dovecot.activated
  - mailserver.dovecot.service
{%- endif %}

mailserver-postfix-delivered:
  mailserver.delivered:
    - name: mail flows
    - delivery: {{ mailserver.delivery | json | json }}
    - require:
        - file: mailserver-probe-forward
        - service: mailserver-postfix-service
{%- if mailserver.dovecot.enabled %}
        - service: mailserver-dovecot-service
{%- endif %}
    - onchanges:
        - user: mailserver-probe-user
        - mailserver: mailserver-postfix-in-force
        - cmd: mailserver-accounts-aliases-database
        - cmd: mailserver-postfix-tables-read
{%- if mailserver.dovecot.enabled %}
        - mailserver: mailserver-dovecot-in-force
{%- endif %}
