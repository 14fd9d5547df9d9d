# Undo what init.sls did. Packages, users, mail and DKIM keys stay.
include:
  - mailserver.schedule.clean
  - mailserver.fail2ban.clean
  - mailserver.firewalld.clean
  - mailserver.mta_sts.clean
  - mailserver.postfix.clean
  - mailserver.reflector.clean
  - mailserver.dovecot.clean
  - mailserver.opendkim.clean
  - mailserver.sasl.clean
  - mailserver.accounts.clean
  - mailserver.tls.clean
  - mailserver.selinux.clean
