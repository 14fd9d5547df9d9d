{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set answers = 'fail2ban-client status mailserver-postfix && fail2ban-client status mailserver-dovecot' %}

include:
  - mailserver.fail2ban.config
  - mailserver.firewalld.service

mailserver-fail2ban-service:
  service.running:
    - name: {{ mailserver.os.fail2ban.service }}
    - enable: true
    - require:
        - pkg: mailserver-fail2ban-packages
        - service: mailserver-firewalld-service
    - watch:
{%- if mailserver.os.fail2ban.sshd_backend %}
        - file: mailserver-fail2ban-jail.d/mailserver-sshd.conf
{%- endif %}
        - file: mailserver-fail2ban-filter.d/mailserver-postfix.conf
        - file: mailserver-fail2ban-filter.d/mailserver-dovecot.conf
        - file: mailserver-fail2ban-action.d/mailserver-firewalld.conf
        - file: mailserver-fail2ban-jail.d/mailserver.conf

# systemd reports it as started as soon as there is a process, which may end a moment later because a log is missing.
mailserver-fail2ban-answers:
  mailserver.command:
    - name: {{ answers }}
    - done: {{ answers }}
    - retry: {attempts: 60, interval: 1}
    - require:
        - service: mailserver-fail2ban-service
