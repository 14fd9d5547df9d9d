# What Dovecot knows of virtual accounts: who they are, their password hashes, and the one user who owns all mail.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set accounts, files = mailserver.accounts, mailserver.os.accounts %}
{%- if accounts.type == 'virtual' %}
{#- The settings are shown and stored, so they have no hashes. #}
{%- set users = dict(accounts.virtual.users) %}
{%- if mailserver.delivery.mailbox %}
{%- do users.update({mailserver.delivery.mailbox: {'quota': mailserver.delivery.room, 'sieve': true} }) %}
{%- endif %}
{%- set given = {} %}
{%- for name, user in pillar.get('mailserver', {}).get('accounts', {}).get('virtual', {}).get('users', {}).items() %}
{%- do given.update({name | lower: user}) %}
{%- endfor %}

include:
  - mailserver.dovecot.package

mailserver-accounts-vmail:
  user.present:
    - name: {{ files.user }}
    - system: true
    - usergroup: true
    - home: {{ files.mail }}
    - createhome: false
    - shell: /usr/sbin/nologin

mailserver-accounts-mail:
  file.directory:
    - name: {{ files.mail }}
    - user: {{ files.user }}
    - group: {{ files.user }}
    - mode: '0700'
    - require:
        - user: mailserver-accounts-vmail

mailserver-accounts-folder:
  file.directory:
    - name: {{ files.folder }}
    - user: root
    - group: root
    - mode: '0755'
    - require:
        - pkg: mailserver-dovecot-packages

mailserver-accounts-passwords:
  file.managed:
    - name: {{ files.folder }}/passwords
    - contents:
        - '# Written by Salt (mailserver/accounts); change the pillar mailserver:accounts:virtual:users, not this file.'
{%- for name, user in accounts.virtual.users.items() if user.enabled %}
{%- set hash = given[name].password | regex_replace('^\\{[A-Z0-9-]*CRYPT\\}', '') %}
{%- set kind = hash.split('$')[1] | upper if hash.startswith('$argon2') else 'CRYPT' %}
{%- set scheme = '' if hash.startswith('{') else '{' ~ kind ~ '}' %}
        - {{ (name ~ ':' ~ scheme ~ hash) | json }}
{%- endfor %}
    - user: root
    - group: dovecot
    - mode: '0640'
    - show_changes: false
    - require:
        - file: mailserver-accounts-folder

{%- if mailserver.authors %}

# The name of the link through which Sieve calls sendmail(1) tells whose script wrote a message.
mailserver-accounts-sieve-send:
  file.managed:
    - name: {{ files.sieve_send }}
    - source: salt://mailserver/accounts/files/sieve-send
    - makedirs: true
    - user: root
    - group: root
    - mode: '0755'

mailserver-accounts-senders:
  file.managed:
    - name: {{ files.folder }}/senders
    - contents: {{ accounts.virtual.users | sort | join('\n') | json }}
    - user: root
    - group: root
    - mode: '0644'
    - show_changes: false
    - require:
        - file: mailserver-accounts-folder
  mailserver.command:
    - name: >-
        mkdir -p {{ files.folder }}/send && cd {{ files.folder }}/send &&
        while read -r one; do ln -sfn {{ files.sieve_send }} "$one" || exit 1; done <../senders
    - done: >-
        cd {{ files.folder }}/send &&
        while read -r one; do test -e "$one" || exit 1; done <../senders
    - require:
        - file: mailserver-accounts-senders
        - file: mailserver-accounts-sieve-send
    - require_in:
        - file: mailserver-accounts-users
{%- endif %}

mailserver-accounts-users:
  file.managed:
    - name: {{ files.folder }}/users
    - source: salt://mailserver/accounts/files/users-{{ mailserver.os.dovecot.language }}.jinja
    - template: jinja
    - context:
        users: {{ users | json }}
        folder: {{ files.folder }}
        send: {{ (files.folder ~ '/send' if mailserver.authors else none) | json }}
    - user: root
    - group: dovecot
    - mode: '0640'
    - require:
        - file: mailserver-accounts-folder
{%- else %}
{}
{%- endif %}
