# MTA-STS policies, served by nginx beside its other sites; without a policy to serve, the site is removed.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
{%- if mailserver.mta_sts.serve == 'nginx' and mailserver.domains.values() | selectattr('mta_sts.mode') | list %}
  - mailserver.mta_sts.package
  - mailserver.mta_sts.config
  - mailserver.mta_sts.activated
  - mailserver.mta_sts.service
{%- else %}
  - mailserver.mta_sts.clean
{%- endif %}
