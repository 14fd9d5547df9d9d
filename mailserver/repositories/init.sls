# EL: EPEL, where OpenDKIM is, and CRB, which EPEL builds on.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.repositories.install %}
{%- set repositories = mailserver.os.repositories %}

mailserver-repositories-epel:
  pkg.installed:
{%- if repositories.source is defined %}
    - sources:
        - {{ repositories.epel }}: {{ repositories.source }}
{%- else %}
    - name: {{ repositories.epel }}
{%- endif %}
{%- if repositories.codeready is defined %}

# The command of the repository's own vendor, since its name and its place differ.
mailserver-repositories-codeready:
  mailserver.command:
    - name: {{ repositories.enable }} "{{ repositories.codeready }}"
    - done: dnf --quiet repolist --enabled "{{ repositories.codeready }}" | grep -q .
{%- if repositories.enable.startswith('dnf config-manager') %}
    - require:
        - pkg: mailserver-repositories-plugins

mailserver-repositories-plugins:
  pkg.installed:
    - name: dnf-plugins-core
{%- endif %}
{%- endif %}
{%- else %}
{}
{%- endif %}
