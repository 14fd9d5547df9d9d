# Activate opendkim.conf and TrustedHosts: check them, put them in place, test that OpenDKIM serves; or roll all of it back.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set opendkim = mailserver.os.opendkim %}

include:
  - mailserver.opendkim.config
  - mailserver.opendkim.keys
{%- if mailserver.selinux.enabled %}
  - mailserver.selinux
{%- endif %}

# If OpenDKIM cannot apply a reload, it silently keeps its old configuration until a boot: so restart it, which shows the
# fault.
mailserver-opendkim-in-force:
  mailserver.activated:
    - name: opendkim
    - service: {{ opendkim.service }}
    - files:
        - {{ opendkim.config }}
        - {{ opendkim.trusted_hosts }}
{%- if mailserver.authors %}
        - {{ opendkim.authors_script }}
{%- endif %}
    - check: /usr/local/libexec/mailserver/check-opendkim {staged} {{ opendkim.config }} {{ opendkim.trusted_hosts }}
    - restart_for:
        {{ opendkim.config }}: true
        {{ opendkim.trusted_hosts }}: true
{%- if mailserver.authors %}
        {{ opendkim.authors_script }}: true
{%- endif %}
    - milter_of: {{ mailserver.os.postfix.folder }}
    - sockets: ['{{ mailserver.opendkim.socket }}']
    - require:
        - pkg: mailserver-opendkim-packages
        - file: mailserver-opendkim-check
        - module: mailserver-opendkim-unit
{%- if mailserver.selinux.enabled %}
        - sls: mailserver.selinux
{%- endif %}
    - watch:
{%- if mailserver.authors %}
        - mailserver: mailserver-opendkim-authors-script
{%- endif %}
        - mailserver: mailserver-opendkim-config
        - mailserver: mailserver-opendkim-trusted-hosts
