{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-mta-sts-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.nginx.packages | json }}
