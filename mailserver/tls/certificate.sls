# The pair that Postfix and Dovecot serve from the start: self-signed, made once, unless the pillar brings its own.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set files, tls = mailserver.os.tls, mailserver.tls %}
{%- if tls.source != 'files' %}

include:
  - mailserver.tls.package

mailserver-tls-folder:
  file.directory:
    - name: {{ files.folder }}
    - user: root
    - group: root
    - mode: '0755'
{%- endif %}
{%- if tls.source in ('self-signed', 'ca', 'acme') %}

# openssl would write into an existing key file, and leave its mode as it was.
mailserver-tls-self-signed:
  mailserver.command:
    - name: >-
        umask 077 && rm -f {{ files.key }} &&
{%- if files.openssl == '1.0' %}
        printf '[req]\ndistinguished_name=name\nx509_extensions=own\n[name]\n[own]\nbasicConstraints=CA:TRUE\nsubjectAltName=DNS:%s\n'
        {{ mailserver.hostname }} | openssl req -config /dev/stdin -pkeyopt ec_param_enc:named_curve
        -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days 3650
        -subj "/CN={{ mailserver.hostname }}"
{%- else %}
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days 3650
        -subj "/CN={{ mailserver.hostname }}" -addext "subjectAltName=DNS:{{ mailserver.hostname }}"
{%- endif %}
        -keyout {{ files.key }} -out {{ files.certificate }} &&
        chmod 0644 {{ files.certificate }}
    - done: test -e {{ files.key }} && test -e {{ files.certificate }}
    - require:
        - pkg: mailserver-tls-packages
        - file: mailserver-tls-folder
{%- endif %}
{%- if tls.source in ('text', 'ca', 'acme') %}

mailserver-tls-{{ tls.source }}-folder:
  file.directory:
    - name: {{ files.folder }}/{{ tls.source }}
    - user: root
    - group: root
    - mode: '0755'
    - require:
        - file: mailserver-tls-folder
{%- endif %}
{%- if tls.source in ('ca', 'acme') %}

# Served until the first certificate is issued, so that the host comes up; Salt's own authority signs this very key.
mailserver-tls-{{ tls.source }}-first:
  mailserver.command:
    - name: >-
        umask 077 && install -m 0600 {{ files.key }} {{ tls.key }} &&
        install -m 0644 {{ files.certificate }} {{ tls.certificate }}
    - done: test -e {{ tls.key }} && test -e {{ tls.certificate }}
    - require:
        - mailserver: mailserver-tls-self-signed
        - file: mailserver-tls-{{ tls.source }}-folder
{%- elif tls.source == 'text' %}
{#- The settings were checked: they are a pair. #}

mailserver-tls-text-key:
  file.managed:
    - name: {{ tls.key }}
    - contents_pillar: mailserver:tls:key_text
    - user: root
    - group: root
    - mode: '0600'
    - show_changes: false
    - require:
        - file: mailserver-tls-text-folder

mailserver-tls-text-certificate:
  file.managed:
    - name: {{ tls.certificate }}
    - contents_pillar: mailserver:tls:certificate_text
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - file: mailserver-tls-text-key
{%- endif %}

mailserver-tls-ready:
  test.nop:
{%- if tls.source == 'files' %}
    - name: {{ tls.certificate }}
{%- else %}
    - require:
{%- if tls.source == 'self-signed' %}
        - mailserver: mailserver-tls-self-signed
{%- elif tls.source == 'text' %}
        - file: mailserver-tls-text-certificate
{%- else %}
        - mailserver: mailserver-tls-{{ tls.source }}-first
{%- endif %}
{%- endif %}
