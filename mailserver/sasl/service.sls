{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.sasl.config

mailserver-sasl-service:
  service.running:
    - name: {{ mailserver.os.sasl.service }}
    - require:
        - pkg: mailserver-sasl-packages
{%- if mailserver.accounts.type == 'system' %}
        - file: mailserver-sasl-pam-smtp
{%- endif %}
    - watch:
        - file: mailserver-sasl-config
{%- if mailserver.os.postfix.chroot %}
        - file: mailserver-sasl-service-folder
        - file: mailserver-sasl-socket-folder
{%- endif %}

# Left behind by a saslauthd with a cache: password hashes.
mailserver-sasl-no-cache:
  file.absent:
    - names:
        - {{ mailserver.os.sasl.socket_folder }}/cache.mmap
        - {{ mailserver.os.sasl.socket_folder }}/cache.flock
    - require:
        - service: mailserver-sasl-service

# Debian 12's saslauthd is an init script that is disabled at first, and Salt's own state does not enable such a script.
mailserver-sasl-enabled:
  mailserver.command:
    - name: systemctl enable {{ mailserver.os.sasl.service }}
    - done: systemctl is-enabled --quiet {{ mailserver.os.sasl.service }}
    - require:
        - service: mailserver-sasl-service
