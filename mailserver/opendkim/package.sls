{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-opendkim-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.opendkim.packages | json }}
