# Sieve scripts for users who have none of their own: put in place if the compiler accepts them; otherwise the old ones stay.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set accounts, folder = mailserver.accounts, mailserver.os.accounts.folder %}
{%- if accounts.type == 'virtual' %}
{%- set scripts = {'default': 'mailserver:accounts:virtual:sieve'} if accounts.virtual.sieve else {'default': none} %}
{%- if mailserver.delivery.mailbox %}
{%- do scripts.update({mailserver.delivery.mailbox: none}) %}
{%- endif %}
{%- for spelled in pillar.get('mailserver', {}).get('accounts', {}).get('virtual', {}).get('users', {}) %}
{%- if accounts.virtual.users[spelled | lower].sieve %}
{%- do scripts.update({spelled | lower: 'mailserver:accounts:virtual:users:' ~ spelled ~ ':sieve'}) %}
{%- endif %}
{%- endfor %}

# The compiler also reads dovecot.conf.
include:
  - mailserver.dovecot.activated
{%- for name, key in scripts.items() %}

mailserver-accounts-sieve-{{ name }}:
  file.managed:
    - name: {{ folder }}/{{ name }}.sieve
{%- if key %}
    - contents_pillar: {{ key }}
{%- else %}
    - contents: keep;
{%- endif %}
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: sievec -d
    # The minion's working directory is /, and the compiler finds no file directly in it.
    - tmp_dir: {{ folder }}
    - require:
        - mailserver: mailserver-dovecot-in-force
  mailserver.command:
    - name: sievec {{ folder }}/{{ name }}.sieve
    - done: test {{ folder }}/{{ name }}.svbin -nt {{ folder }}/{{ name }}.sieve
    - require:
        - file: mailserver-accounts-sieve-{{ name }}
{%- endfor %}
{%- else %}
{}
{%- endif %}
