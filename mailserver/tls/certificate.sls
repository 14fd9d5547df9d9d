# Where the pillar names no certificate: a self-signed one, made once.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set files = mailserver.os.tls %}
{%- if not mailserver.tls.certificate %}

include:
  - mailserver.tls.package

mailserver-tls-folder:
  file.directory:
    - name: {{ files.folder }}
    - user: root
    - group: root
    - mode: '0755'

# openssl would write into a key file that is there, and leave its mode as it was.
mailserver-tls-self-signed:
  cmd.run:
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
    - creates:
        - {{ files.key }}
        - {{ files.certificate }}
    - require:
        - pkg: mailserver-tls-packages
        - file: mailserver-tls-folder
{%- endif %}
