# Stage main.cf and master.cf; activated.sls puts both in place at once, if Postfix's own tools accept them.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set folder = mailserver.os.postfix.folder %}

include:
  - mailserver.postfix.package
  - mailserver.tls
{%- if mailserver.accounts.type == 'virtual' %}
  - mailserver.accounts.virtual
{%- endif %}
{%- if mailserver.reflector.address %}
  - mailserver.reflector.config
{%- endif %}

mailserver-postfix-check:
  file.managed:
    - name: /usr/local/libexec/mailserver/check-postfix
    - source: salt://mailserver/postfix/files/check-postfix
    - makedirs: true
    - user: root
    - group: root
    - mode: '0755'

# The packages' own files; if the host had its own, they are kept already.
mailserver-postfix-distribution:
  mailserver.originals_kept:
    - name: Postfix's files
    - files: {{ files.postfix | json }}
    - require:
        - pkg: mailserver-postfix-packages

mailserver-postfix-sender-login:
  file.managed:
    - name: {{ folder }}/sender_login
    - source: salt://mailserver/postfix/files/sender_login.jinja
    - template: jinja
    - context:
        lines: {{ mailserver.postfix.senders | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - mailserver: mailserver-postfix-distribution
        - pkg: mailserver-postfix-packages
{#- Postfix keeps it in memory: as with the other tables, activated.sls makes Postfix read it again. #}
{%- set left = salt['mailserver.left_users'](mailserver.accounts.users | list) %}

# Users that this formula made and that left the pillar: their mail is refused, and does not wait.
mailserver-postfix-left:
  file.managed:
    - name: {{ folder }}/mailserver_left
    - contents: |
        # Written by Salt (mailserver/postfix); change the pillar, not this file.
{%- for name in left %}
        {{ name }} an address that is not known here
{%- endfor %}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - pkg: mailserver-postfix-packages
    - require_in:
        - mailserver: mailserver-postfix-main
{%- for path, lines in mailserver.postfix.files.items() %}

mailserver-postfix-{{ path }}:
  file.managed:
    - name: {{ path }}
    - contents: |
        # Written by Salt (mailserver/postfix); change the pillar, not this file.
{%- for line in lines %}
        {{ line }}
{%- endfor %}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - pkg: mailserver-postfix-packages
    - require_in:
        - mailserver: mailserver-postfix-main
{%- endfor %}

mailserver-postfix-main:
  mailserver.staged:
    - name: {{ folder }}/main.cf
    - source: salt://mailserver/postfix/files/main.cf.jinja
    - template: jinja
    - context:
        main: {{ mailserver.postfix.main | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-postfix-check
        - file: mailserver-postfix-sender-login
        - mailserver: mailserver-postfix-distribution
        - pkg: mailserver-tls-packages
        - test: mailserver-tls-ready

mailserver-postfix-master:
  mailserver.staged:
    - name: {{ folder }}/master.cf
    - source: salt://mailserver/postfix/files/master.cf.jinja
    - template: jinja
    - context:
        chroot: {{ mailserver.os.postfix.chroot | json }}
        local: {{ mailserver.postfix.local | json }}
        syntax: {{ mailserver.postfix.syntax | json }}
        postscreen: {{ mailserver.postscreen.enabled | json }}
        tlsproxy: {{ mailserver.postfix.tlsproxy | json }}
        submission: {{ mailserver.postfix.submission | json }}
        submissions: {{ mailserver.postfix.submissions | json }}
        reflector: {{ (mailserver.os.reflector if mailserver.reflector.address else none) | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - mailserver: mailserver-postfix-main
        - mailserver: mailserver-postfix-distribution
{%- if mailserver.accounts.type == 'virtual' %}
        # Mail that Sieve scripts write is signed by the name that Dovecot gives it, so that file comes first.
        - file: mailserver-accounts-users
{%- endif %}
{%- if mailserver.reflector.address %}
        - sls: mailserver.reflector.config
{%- endif %}

# Show the operator the configuration that will be active.
mailserver-postfix-shown:
  cmd.run:
    - name: postconf -c /var/lib/mailserver/staged{{ folder }} -n
    - onchanges:
        - mailserver: mailserver-postfix-main
        - mailserver: mailserver-postfix-master
