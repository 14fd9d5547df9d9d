{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.opendkim.takeover
  - mailserver.postfix.waits
{%- if mailserver.repositories.install %}
  - mailserver.repositories
{%- endif %}

mailserver-opendkim-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.opendkim.packages | json }}
    - require:
        - dkim: mailserver-opendkim-found
        - mailserver: mailserver-postfix-waits
{%- if mailserver.repositories.install %}
        - sls: mailserver.repositories
{%- endif %}
