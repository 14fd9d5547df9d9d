# The Python packages that the formula's modules need, in Salt's own Python. If they are installed, Salt's pip module is
# not even loaded: that alone takes as long as an empty highstate.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set python = mailserver.os.python %}

mailserver-python-packages:
{%- if not mailserver.python.install %}
  mailserver.python_fits:
    - name: Salt's Python
    - packages: {{ (python.packages + python.comes_with_salt) | json }}
{%- elif salt['mailserver.python_ready'](python.packages) %}
  test.nop: []
{%- else %}
  pip.installed:
    - pkgs: {{ python.packages | json }}
    - reload_modules: true
{%- endif %}
