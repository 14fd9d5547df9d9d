# What Postfix needs before it passes the reflector a message: its user, its program and its settings.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set reflector = mailserver.os.reflector %}
{%- set settings = {
  'address': mailserver.reflector.address, 'language': mailserver.reflector.language, 'rate': mailserver.reflector.rate,
  'total': mailserver.reflector.total, 'hostname': mailserver.hostname, 'timeout': mailserver.dns.timeout,
  'networks': mailserver.postfix.main.get('mynetworks', '').replace(',', ' ').split(), 'state': reflector.state,
} %}

mailserver-reflector-user:
  user.present:
    - name: {{ reflector.user }}
    - fullname: Mail reflector
    - system: true
    - usergroup: true
    - home: {{ reflector.state }}
    - createhome: false
    - shell: /usr/sbin/nologin

# Other components keep files there, too.
mailserver-reflector-folder:
  file.directory:
    - name: {{ salt['file.dirname'](reflector.state) }}
    - user: root
    - group: root
    - mode: '0755'

mailserver-reflector-state:
  file.directory:
    - name: {{ reflector.state }}
    - user: {{ reflector.user }}
    - group: {{ reflector.user }}
    - mode: '0700'
    - require:
        - file: mailserver-reflector-folder
        - user: mailserver-reflector-user

mailserver-reflector-settings:
  file.managed:
    - name: /etc/mailserver/reflector.json
    - contents: {{ settings | json | json }}
    - user: root
    - group: {{ reflector.user }}
    - mode: '0640'
    - makedirs: true
    - dir_mode: '0755'
    - require:
        - user: mailserver-reflector-user

# The package's folders that the program imports from, and the files in none; a unit test makes the pattern from the
# imports. The whole package has five times as many files, each of which costs every highstate a question to the master.
mailserver-reflector-modules:
  file.recurse:
    - name: {{ reflector.folder }}/mailhost
    - source: salt://_utils/mailhost
    - include_pat: 'E@^((dns|receiver|reflector)/)?[a-z0-9_]+[.]py$'
    - clean: true
    - user: root
    - group: root
    - dir_mode: '0755'
    - file_mode: '0644'
{%- set side_by_side = salt['file.find'](reflector.folder, name='mailserver_*.py', type='f') %}
{%- if side_by_side %}

# Where an earlier version of this formula kept the program's modules.
mailserver-reflector-earlier-modules:
  file.absent:
    - names: {{ side_by_side | sort | json }}
    - require:
        - file: mailserver-reflector-program
{%- endif %}

mailserver-reflector-program:
  file.managed:
    - name: {{ reflector.program }}
    - source: salt://mailserver/reflector/files/reflector.jinja
    - template: jinja
    - context:
        python: {{ grains['pythonexecutable'] }}
        folder: {{ reflector.folder }}
    - makedirs: true
    - user: root
    - group: root
    - mode: '0755'
    - require:
        - file: mailserver-reflector-modules
        - file: mailserver-reflector-settings
        - file: mailserver-reflector-state
