{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
{%- if mailserver.repositories.install %}
  - mailserver.repositories
{%- endif %}
  - mailserver.firewalld.package

mailserver-fail2ban-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.fail2ban.packages | json }}
    - require:
        - pkg: mailserver-firewalld-packages
{%- if mailserver.repositories.install %}
        - sls: mailserver.repositories
{%- endif %}
