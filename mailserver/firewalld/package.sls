{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.kept

mailserver-firewalld-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.firewalld.packages | json }}
    # Debian's package starts it.
    - require:
        - mailserver: mailserver-kept-lost-ports
