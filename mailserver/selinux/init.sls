# SELinux: labels that its policy lacks, and the pillar's booleans.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.selinux.enabled %}
{%- set own_certificate = mailserver.tls.source != 'files' %}

include:
  - mailserver.tls
  - mailserver.probe
{%- if mailserver.accounts.type == 'virtual' %}
  - mailserver.accounts.virtual
{%- endif %}

# Salt's selinux module appears with semanage.
mailserver-selinux-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.selinux.packages | json }}
    - reload_modules: true
{%- for port in mailserver.selinux.milter_ports %}

mailserver-selinux-port-{{ port }}:
  selinux.port_policy_present:
    - name: tcp/{{ port }}
    - sel_type: milter_port_t
    - require:
        - pkg: mailserver-selinux-packages
{%- endfor %}
{%- if own_certificate %}

mailserver-selinux-certificate:
  selinux.fcontext_policy_present:
    - name: {{ mailserver.os.tls.folder }}(/.*)?
    - sel_type: cert_t
    - require:
        - pkg: mailserver-selinux-packages

mailserver-selinux-certificate-labelled:
  selinux.fcontext_policy_applied:
    - name: {{ mailserver.os.tls.folder }}
    - recursive: true
    - require:
        - selinux: mailserver-selinux-certificate
        - test: mailserver-tls-ready
{%- endif %}
{%- if mailserver.accounts.type == 'virtual' %}

mailserver-selinux-mail:
  selinux.fcontext_policy_present:
    - name: {{ mailserver.os.accounts.mail }}(/.*)?
    - sel_type: mail_spool_t
    - require:
        - pkg: mailserver-selinux-packages

mailserver-selinux-mail-labelled:
  selinux.fcontext_policy_applied:
    - name: {{ mailserver.os.accounts.mail }}
    - recursive: true
    - require:
        - selinux: mailserver-selinux-mail
        - file: mailserver-accounts-mail
{%- endif %}

mailserver-selinux-probe:
  selinux.fcontext_policy_present:
    - name: {{ mailserver.os.probe.home }}(/.*)?
    - sel_type: mail_spool_t
    - require:
        - pkg: mailserver-selinux-packages

mailserver-selinux-probe-labelled:
  selinux.fcontext_policy_applied:
    - name: {{ mailserver.os.probe.home }}
    - recursive: true
    - require:
        - selinux: mailserver-selinux-probe
        - file: mailserver-probe-forward
{%- for name, value in mailserver.selinux.booleans.items() %}

mailserver-selinux-boolean-{{ name }}:
  selinux.boolean:
    - name: {{ name }}
    - value: {{ value | json }}
    - persist: true
    - require:
        - pkg: mailserver-selinux-packages
{%- endfor %}
{%- else %}
{}
{%- endif %}
