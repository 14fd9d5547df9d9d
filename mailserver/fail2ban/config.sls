# The formula's own jails, filters and action, beside fail2ban's; fail2ban tests them before they are put in place.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set folder = mailserver.os.fail2ban.folder %}
{%- set check = '/usr/local/libexec/mailserver/check-fail2ban' %}

include:
  - mailserver.fail2ban.package
{%- if mailserver.postfix.log %}
  - mailserver.postfix.log
{%- endif %}

mailserver-fail2ban-check:
  file.managed:
    - name: {{ check }}
    - source: salt://mailserver/fail2ban/files/check-fail2ban
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true
    - require:
        - pkg: mailserver-fail2ban-packages
{%- set first = (('jail.d/mailserver-sshd.conf', 'jail-sshd.jinja'),) if mailserver.os.fail2ban.sshd_backend else () %}
{%- for target, source in first + (
  ('filter.d/mailserver-postfix.conf', 'filter-postfix.jinja'),
  ('filter.d/mailserver-dovecot.conf', 'filter-dovecot.jinja'),
  ('action.d/mailserver-firewalld.conf', 'action.jinja'),
  ('jail.d/mailserver.conf', 'jail.jinja'),
) %}

mailserver-fail2ban-{{ target }}:
  file.managed:
    - name: {{ folder }}/{{ target }}
    - source: salt://mailserver/fail2ban/files/{{ source }}
    - template: jinja
    - context:
        fail2ban: {{ mailserver.fail2ban | json }}
        sshd_backend: {{ mailserver.os.fail2ban.sshd_backend | json }}
        log: {{ mailserver.postfix.log | json }}
        zone: {{ mailserver.firewalld.zone }}
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: {{ check }} {{ folder }} {{ target }}
    - require:
        - file: mailserver-fail2ban-check
{%- if mailserver.postfix.log %}
        - file: mailserver-postfix-log
{%- endif %}
{%- if not loop.first %}
        - file: mailserver-fail2ban-{{ loop.previtem[0] }}
{%- endif %}
{%- endfor %}
