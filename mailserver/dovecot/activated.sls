# Activate dovecot.conf: check it, put it in place, reload Dovecot and test that it serves; or roll all of it back.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set config = mailserver.os.dovecot.folder ~ '/dovecot.conf' %}
{%- set virtual = mailserver.accounts.type == 'virtual' %}
{%- set listens = {
  'hostname': mailserver.hostname, 'addresses': mailserver.addresses,
  'postfix': {'main': {}, 'submission': {'enabled': false}, 'submissions': {'enabled': false} },
  'dovecot': {'enabled': true, 'protocols': mailserver.dovecot.protocols},
} %}

include:
  - mailserver.dovecot.config
{%- if virtual %}
  - mailserver.accounts.virtual
{%- else %}
  - mailserver.sasl.logins
{%- endif %}
{%- if mailserver.sasl.type == 'dovecot' %}
  - mailserver.postfix.package
{%- endif %}

mailserver-dovecot-in-force:
  mailserver.activated:
    - name: dovecot
    - service: {{ mailserver.os.dovecot.service }}
    - files: [{{ config }}]
    - check: doveconf -n -c {staged}{{ config }}
    - reload: doveadm reload
    # Dovecot 2.4 has a line for each protocol, and makes the folder for a new protocol's sockets only when it starts.
    - restart_for:
        {{ config }}:
          [base_dir, state_dir, instance_name, default_internal_user, default_login_user, listen, protocols,
           imap, pop3, lmtp, sieve]
    - settings: {{ listens | json | json }}
{%- if virtual and mailserver.accounts.virtual.managesieve %}
    - sockets: ['4190']
{%- endif %}
{%- if virtual %}
    - delivery: {{ mailserver.delivery | json | json }}
{%- endif %}
    - certificate: {{ mailserver.tls.certificate or mailserver.os.tls.certificate }}
    - key: {{ mailserver.tls.key or mailserver.os.tls.key }}
    - require:
        - pkg: mailserver-dovecot-packages
{%- if mailserver.sasl.type == 'dovecot' %}
        - pkg: mailserver-postfix-packages
{%- endif %}
{%- if virtual %}
        - file: mailserver-accounts-mail
        - file: mailserver-accounts-passwords
        - file: mailserver-accounts-users
{%- else %}
        - file: mailserver-sasl-pam-dovecot
{%- endif %}
    - watch:
        - mailserver: mailserver-dovecot-config
