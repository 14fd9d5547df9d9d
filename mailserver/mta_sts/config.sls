# Stage one file for nginx; activated.sls puts it in place, if nginx accepts its whole configuration with it.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set nginx = mailserver.os.nginx %}
{%- set check = '/usr/local/libexec/mailserver/check-nginx' %}
{%- set policies = {} %}
{%- for name, domain in mailserver.domains.items() if domain.mta_sts.mode %}
{%- do policies.update({name: {'mx': domain.mx, 'mode': domain.mta_sts.mode, 'max_age': domain.mta_sts.max_age} }) %}
{%- endfor %}

include:
  - mailserver.mta_sts.package

mailserver-mta-sts-check:
  file.managed:
    - name: {{ check }}
    - source: salt://mailserver/mta_sts/files/check-nginx
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true

mailserver-mta-sts-site:
  mailserver.staged:
    - name: {{ nginx.site }}
    - source: salt://mailserver/mta_sts/files/mta-sts.conf.jinja
    - template: jinja
    - context:
        policies: {{ policies | json }}
        served: {{ mailserver.mta_sts | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
        - pkg: mailserver-mta-sts-packages
        - file: mailserver-mta-sts-check
