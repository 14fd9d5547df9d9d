# Stage the whole dovecot.conf, in the language of the host's version; activated.sls puts it in place, if doveconf accepts it.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set config = mailserver.os.dovecot.folder ~ '/dovecot.conf' %}
{%- set accounts = mailserver.accounts %}
{#- A mailbox accepts one message over its limit, so that refusals happen before a message is sent. #}
{%- set grace = mailserver.postfix.message_size or 2 ** 40 %}
{%- set virtual = dict(mailserver.os.accounts, quota=accounts.virtual.quota, managesieve=accounts.virtual.managesieve,
                       grace=grace, weak_hashes=accounts.virtual.weak_hashes) if accounts.type == 'virtual' else none %}

include:
  - mailserver.dovecot.package
  - mailserver.tls

mailserver-dovecot-distribution:
  mailserver.originals_kept:
    - name: Dovecot's files
    - files: {{ files.dovecot | json }}
    - require:
        - pkg: mailserver-dovecot-packages

mailserver-dovecot-config:
  mailserver.staged:
    - name: {{ config }}
    - source: salt://mailserver/dovecot/files/dovecot-{{ mailserver.os.dovecot.language }}.conf.jinja
    - template: jinja
    - context:
        version: '{{ mailserver.os.dovecot.version }}'
        delimiter: {{ mailserver.postfix.delimiter | json }}
        dovecot: {{ mailserver.dovecot | json }}
        certificate: {{ mailserver.tls.certificate or mailserver.os.tls.certificate }}
        key: {{ mailserver.tls.key or mailserver.os.tls.key }}
        profile: {{ {'ciphers': mailserver.os.tls.ciphers, 'curves': mailserver.os.tls.curves} | json }}
        sasl: {{ mailserver.sasl | json }}
        virtual: {{ virtual | json }}
        queue: {{ mailserver.os.postfix.queue }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - mailserver: mailserver-dovecot-distribution
        - pkg: mailserver-tls-packages
        - test: mailserver-tls-ready
