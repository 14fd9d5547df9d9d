# Remove the formula's own files, and with them its bans. fail2ban stays as it is, since it may have other jails. So does
# jail.d/mailserver-sshd.conf: Debian's fail2ban does not start without it where there is no syslog daemon.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set folder = mailserver.os.fail2ban.folder %}

mailserver-fail2ban-clean:
  file.absent:
    - names:
        - {{ folder }}/jail.d/mailserver.conf
        - {{ folder }}/action.d/mailserver-firewalld.conf
        - {{ folder }}/filter.d/mailserver-postfix.conf
        - {{ folder }}/filter.d/mailserver-dovecot.conf

mailserver-fail2ban-clean-reload:
  cmd.run:
    - name: systemctl try-reload-or-restart {{ mailserver.os.fail2ban.service }}
    - onchanges:
        - file: mailserver-fail2ban-clean
