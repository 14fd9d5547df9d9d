# Policies of MTA-STS, served by nginx beside the sites that it has; where none is to be served, the site is taken away.
{%- from 'mailserver/map.jinja' import mailserver with context %}
include:
{%- if mailserver.mta_sts.serve == 'nginx' and mailserver.domains.values() | selectattr('mta_sts.mode') | list %}
  - mailserver.mta_sts.package
  - mailserver.mta_sts.config
  - mailserver.mta_sts.in_force
  - mailserver.mta_sts.service
{%- else %}
  - mailserver.mta_sts.clean
{%- endif %}
