{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-postfix-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.postfix.packages | json }}
