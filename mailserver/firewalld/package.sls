{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-firewalld-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.firewalld.packages | json }}
