{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.repositories.install %}
include:
  - mailserver.repositories
{%- endif %}

mailserver-opendkim-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.opendkim.packages | json }}
{%- if mailserver.repositories.install %}
    - require:
        - sls: mailserver.repositories
{%- endif %}
