{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.kept

mailserver-postfix-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.postfix.packages | json }}
