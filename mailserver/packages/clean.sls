# Remove the packages that the formula installed, if the pillar says so, and what Debian's packages leave behind.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- if mailserver.clean.packages %}

mailserver-packages-clean:
  mailserver.packages_removed:
    - name: packages that the formula brought
    - queue: {{ mailserver.os.postfix.queue }}
    - order: last

mailserver-packages-clean-note:
  file.absent:
    - name: /var/lib/mailserver/packages.json
    - order: last
    - require:
        - mailserver: mailserver-packages-clean

mailserver-packages-clean-folders:
  cmd.run:
    - name: find /etc/mailserver /var/lib/mailserver -maxdepth 0 -empty -delete
    - onlyif: find /etc/mailserver /var/lib/mailserver -maxdepth 0 -empty | grep -q .
    - order: last
    - require:
        - file: mailserver-packages-clean-note
{%- else %}
{}
{%- endif %}
