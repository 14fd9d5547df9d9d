{%- from 'mailserver/map.jinja' import mailserver with context %}

include:
  - mailserver.kept
{%- if mailserver.opendkim.enabled %}
  - mailserver.opendkim.takeover
{%- endif %}

mailserver-postfix-packages:
  pkg.installed:
    - pkgs: {{ mailserver.os.postfix.packages | json }}
{%- if mailserver.opendkim.enabled %}
    # If OpenDKIM's signatures would be lost, Postfix stays as it is, too.
    - require:
        - dkim: mailserver-opendkim-found
{%- endif %}
