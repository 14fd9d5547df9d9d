{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-tls-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.tls.packages | json }}
