# Activate main.cf and master.cf as one change: check them, put them in place, reload Postfix and test that it serves; or
# roll all of it back.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set folder = mailserver.os.postfix.folder %}
{%- set listens = {
  'hostname': mailserver.hostname, 'addresses': mailserver.addresses,
  'postfix': {'main': {'inet_interfaces': mailserver.postfix.main.get('inet_interfaces', 'all')},
              'submission': {'enabled': mailserver.postfix.submission.enabled},
              'submissions': {'enabled': mailserver.postfix.submissions.enabled} },
  'dovecot': {'enabled': false},
} %}

# Without its milter Postfix defers all mail, so OpenDKIM comes first; if OpenDKIM fails, Postfix still goes on.
include:
{%- if mailserver.opendkim.enabled %}
  - mailserver.opendkim.service
  - mailserver.postfix.waits
{%- endif %}
  - mailserver.postfix.config
  - mailserver.probe
{%- if mailserver.postfix.log %}
  - mailserver.postfix.log
{%- endif %}
{%- if mailserver.selinux.enabled %}
  - mailserver.selinux
{%- endif %}
  - mailserver.sasl
{%- if mailserver.sasl.type == 'dovecot' %}
  - mailserver.dovecot
{%- endif %}

mailserver-postfix-in-force:
  mailserver.activated:
    - name: postfix
    - service: {{ mailserver.os.postfix.service }}
    - files:
        - {{ folder }}/main.cf
        - {{ folder }}/master.cf
    - check: >-
        /usr/local/libexec/mailserver/check-postfix {{ folder }}
        main.cf {staged}{{ folder }}/main.cf master.cf {staged}{{ folder }}/master.cf
    - reload: postfix reload
    # postconf(5): these are read when Postfix starts.
    - restart_for:
        {{ folder }}/main.cf:
          [inet_interfaces, inet_protocols, queue_directory, data_directory, mail_owner, setgid_group, maillog_file]
    - settings: {{ listens | json | json }}
{%- if mailserver.postfix.log %}
    - log: {{ mailserver.postfix.log }}
{%- endif %}
    - main_cf: {{ folder }}/main.cf
    - recipient: postmaster@{{ mailserver.domain }}
    - delivery: {{ mailserver.delivery | json | json }}
    - require:
{%- if mailserver.opendkim.enabled %}
        - mailserver: mailserver-postfix-waits
{%- endif %}
        - file: mailserver-postfix-check
        - file: mailserver-probe-forward
{%- if mailserver.postfix.log %}
        - file: mailserver-postfix-log
{%- endif %}
{%- if mailserver.selinux.enabled %}
        - selinux: mailserver-selinux-probe-labelled
{%- endif %}
        - cmd: mailserver-postfix-shown
{%- if mailserver.sasl.type == 'cyrus' %}
        - service: mailserver-sasl-service
{%- else %}
        - mailserver: mailserver-dovecot-in-force
{%- endif %}
    - watch:
        - mailserver: mailserver-postfix-main
        - mailserver: mailserver-postfix-master

# Tables that Postfix keeps in memory; if main.cf is the same, nothing else makes Postfix read them again.
mailserver-postfix-tables-read:
  cmd.run:
    - name: postfix reload
    - onchanges:
        - file: mailserver-postfix-left
{%- for path in mailserver.postfix.files %}
        - file: mailserver-postfix-{{ path }}
{%- endfor %}
    - require:
        - mailserver: mailserver-postfix-in-force
