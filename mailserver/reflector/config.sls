# What Postfix needs before it hands the reflector a message: its user, its program and its settings.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set reflector = mailserver.os.reflector %}
{%- set modules = [
  'mailserver_dmarc', 'mailserver_dmarc_suffix', 'mailserver_dns_message', 'mailserver_errors', 'mailserver_milter',
  'mailserver_reflector', 'mailserver_reflector_answer', 'mailserver_reflector_message', 'mailserver_reflector_rate',
  'mailserver_reflector_report', 'mailserver_reflector_rules', 'mailserver_reflector_texts', 'mailserver_spf',
  'mailserver_verdict', 'mailserver_wording',
] %}
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

# Others keep something there, too.
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

mailserver-reflector-modules:
  file.managed:
    - names:
{%- for module in modules %}
        - {{ reflector.folder }}/{{ module }}.py:
            - source: salt://_utils/{{ module }}.py
{%- endfor %}
    - makedirs: true
    - user: root
    - group: root
    - mode: '0644'

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
