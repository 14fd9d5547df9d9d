# Undo what init.sls did. Users, mail and DKIM keys stay, and so do packages, unless mailserver:clean:packages is true.
include:
  - mailserver.schedule.clean
  - mailserver.dns.clean
  - mailserver.fail2ban.clean
  - mailserver.firewalld.clean
  - mailserver.mta_sts.clean
  - mailserver.postfix.clean
  - mailserver.probe.clean
  - mailserver.reflector.clean
  - mailserver.dovecot.clean
  - mailserver.opendkim.clean
  - mailserver.sasl.clean
  - mailserver.accounts.clean
  - mailserver.tls.clean
  - mailserver.selinux.clean
  - mailserver.kept.clean
  - mailserver.packages.clean
