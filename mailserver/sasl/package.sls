{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-sasl-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.sasl.packages | json }}
