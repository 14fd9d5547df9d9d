# Booleans stay as they are: what they were before is not known. So does the label of mail, as mail itself.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.selinux.enabled %}
{%- for port in mailserver.selinux.milter_ports %}

mailserver-selinux-clean-port-{{ port }}:
  selinux.port_policy_absent:
    - name: tcp/{{ port }}
    - sel_type: milter_port_t
{%- endfor %}

mailserver-selinux-clean-certificate:
  selinux.fcontext_policy_absent:
    - name: {{ mailserver.os.tls.folder }}(/.*)?
    - sel_type: cert_t

mailserver-selinux-clean-probe:
  selinux.fcontext_policy_absent:
    - name: {{ mailserver.os.probe.home }}(/.*)?
    - sel_type: mail_spool_t
{%- else %}
{}
{%- endif %}
