{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.kept

mailserver-dovecot-packages:
  pkg.installed:
    - pkgs:
{%- for package in mailserver.os.dovecot.packages %}
        - {{ package }}
{%- endfor %}
{%- for package in mailserver.os.dovecot.sieve_packages if mailserver.accounts.type == 'virtual' %}
        - {{ package }}
{%- endfor %}
{%- for protocol, package in mailserver.os.dovecot.protocol_packages.items() if protocol in mailserver.dovecot.protocols %}
        - {{ package }}
{%- endfor %}
