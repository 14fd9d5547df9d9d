# Booleans stay as they are: their earlier values are not known. The label of mail stays, as mail itself does.
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
