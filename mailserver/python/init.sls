# The Python packages that the formula's modules need, in Salt's own Python.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-python-packages:
  pip.installed:
    - pkgs: {{ mailserver.os.python.packages | json }}
    - reload_modules: true
    - unless:
        - fun: mailserver.python_ready
