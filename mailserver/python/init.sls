# The Python packages that the formula's modules need, in Salt's own Python. If they are installed, Salt's pip module is
# not even loaded: that alone takes as long as an empty highstate.
{%- from 'mailserver/map.jinja' import mailserver with context %}

mailserver-python-packages:
{%- if salt['mailserver.python_ready'](mailserver.os.python.packages) %}
  test.nop: []
{%- else %}
  pip.installed:
    - pkgs: {{ mailserver.os.python.packages | json }}
    - reload_modules: true
{%- endif %}
