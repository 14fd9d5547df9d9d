# The recipient of the formula's own test messages: a user who is not a person, and cannot log in.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set probe = mailserver.os.probe %}

include:
  - mailserver.kept

mailserver-probe-user:
  user.present:
    - name: {{ probe.user }}
    - fullname: Mail server's own messages
    - system: true
    - usergroup: true
    - home: {{ probe.home }}
    - createhome: false
    - shell: /usr/sbin/nologin
    - require:
        - mailserver: mailserver-kept-originals

mailserver-probe-folder:
  file.directory:
    - name: {{ probe.folder }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true
    - require:
        - user: mailserver-probe-user

mailserver-probe-home:
  file.directory:
    - name: {{ probe.home }}
    - user: {{ probe.user }}
    - group: {{ probe.user }}
    - mode: '0700'
    - require:
        - file: mailserver-probe-folder

# Discards what others send there; it is absent only while the formula waits for its own message.
mailserver-probe-forward:
  file.managed:
    - name: {{ probe.home }}/.forward
    - contents: /dev/null
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-probe-home
