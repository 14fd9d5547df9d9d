# A mail server as the pillar `mailserver` describes it: each component is a folder of its own.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
  - mailserver.packages
  - mailserver.kept
{%- if mailserver.repositories.install %}
  - mailserver.repositories
{%- endif %}
{%- if mailserver.selinux.enabled %}
  - mailserver.selinux
{%- endif %}
  - mailserver.python
  - mailserver.tls
  - mailserver.accounts
  - mailserver.sasl
{%- if mailserver.opendkim.enabled %}
  - mailserver.opendkim
{%- endif %}
{%- if mailserver.dovecot.enabled %}
  - mailserver.dovecot
{%- endif %}
  - mailserver.postfix
  - mailserver.reflector
  - mailserver.mta_sts
{%- if mailserver.firewalld.enabled %}
  - mailserver.firewalld
{%- endif %}
  - mailserver.fail2ban
  - mailserver.schedule
  - mailserver.dns
  - mailserver.summary
