{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- from 'mailserver/kept/files.jinja' import files with context %}
{%- set sasl = mailserver.os.sasl %}
{%- set postfix = mailserver.os.postfix %}

include:
  - mailserver.sasl.package
  - mailserver.postfix.package
  - mailserver.sasl.logins

mailserver-sasl-config-distribution:
  mailserver.originals_kept:
    - name: files of SMTP logins
    - files: {{ files.sasl | json }}
    - require:
        - pkg: mailserver-sasl-packages

mailserver-sasl-config:
  file.managed:
    - name: {{ sasl.config }}
    - source: salt://mailserver/sasl/files/saslauthd.{{ grains['os_family'] }}.jinja
    - template: jinja
    - context:
        socket_folder: {{ sasl.socket_folder }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - mailserver: mailserver-sasl-config-distribution

mailserver-sasl-postfix-folder:
  file.directory:
    - name: {{ postfix.sasl_folder }}
    - user: root
    - group: root
    - mode: '0755'
    - require:
        - pkg: mailserver-postfix-packages

mailserver-sasl-postfix-config:
  file.managed:
    - name: {{ postfix.sasl_folder }}/smtpd.conf
    - source: salt://mailserver/sasl/files/smtpd.conf.jinja
    - template: jinja
    - context:
        mechanisms: {{ mailserver.sasl.mechanisms | json }}
        socket_folder: {{ sasl.socket_folder }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-sasl-postfix-folder
{%- if postfix.chroot %}

# The socket must be in the chroot; services outside it find it by the same name through the link.
mailserver-sasl-socket-parent:
  file.directory:
    - name: {{ salt['file.dirname'](sasl.socket_folder) }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true
    - require:
        - pkg: mailserver-postfix-packages

mailserver-sasl-socket-folder:
  file.directory:
    - name: {{ sasl.socket_folder }}
    - user: root
    - group: sasl
    - mode: '0710'
    - require:
        - file: mailserver-sasl-socket-parent
        - pkg: mailserver-sasl-packages

mailserver-sasl-socket-link:
  file.symlink:
    - name: {{ postfix.queue }}{{ postfix.queue }}
    - target: /
    - makedirs: true
    - require:
        - pkg: mailserver-postfix-packages

mailserver-sasl-service-folder:
  file.managed:
    - name: /etc/systemd/system/{{ sasl.service }}.service.d/mailserver.conf
    - source: salt://mailserver/sasl/files/saslauthd.service.jinja
    - template: jinja
    - context:
        socket_folder: {{ sasl.socket_folder }}
    - makedirs: true
    - user: root
    - group: root
    - mode: '0644'
  module.run:
    - name: service.systemctl_reload
    - onchanges:
        - file: mailserver-sasl-service-folder
{%- endif %}
{%- for group in sasl.user_groups %}

mailserver-sasl-postfix-in-{{ group }}:
  group.present:
    - name: {{ group }}
    - addusers: [postfix]
    - require:
        - pkg: mailserver-sasl-packages
        - pkg: mailserver-postfix-packages
{%- endfor %}
