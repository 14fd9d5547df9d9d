# Which of the host's users may log in: PAM checks this before the system's own rules, for SMTP and for Dovecot.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.accounts.type == 'system' %}
{%- set services = ['smtp', 'dovecot'] if mailserver.dovecot.enabled else ['smtp'] %}
{%- set names = mailserver.accounts.users.items() | selectattr('1.enabled') | map('first') %}
{%- set packages = {'smtp': 'postfix', 'dovecot': 'dovecot'} %}

include:
{%- for service in services %}
  - mailserver.{{ packages[service] }}.package
{%- endfor %}

mailserver-sasl-login-users:
  file.managed:
    - name: /etc/mailserver/login-users
    - contents: {{ (names | sort | join('\n') ~ '\n') | json }}
    - makedirs: true
    - user: root
    - group: root
    - mode: '0644'
{%- for service in services %}

# After the packages: they may bring a service's own rules, and ours continue with what is there.
mailserver-sasl-pam-{{ service }}:
  file.managed:
    - name: /etc/pam.d/mailserver-{{ service }}
    - source: salt://mailserver/sasl/files/pam.jinja
    - template: jinja
    - context:
        service: {{ service }}
        first: {{ salt['mailserver.first_user_id']() }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-sasl-login-users
        - pkg: mailserver-{{ packages[service] }}-packages
{%- endfor %}
{%- else %}
{}
{%- endif %}
