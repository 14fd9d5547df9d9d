{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-tls-clean:
  file.absent:
    - name: {{ mailserver.os.tls.folder }}
