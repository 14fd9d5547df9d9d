# Every host maintains its own keys and watches its own mail server, whether or not the master can be reached: by the
# minion's schedule or, where no minion runs one, by systemd timers. With salt-ssh, Salt leaves nothing on the host.
{%- from 'mailserver/map.jinja' import mailserver with context %}
{%- set schedule, watch = mailserver.schedule, mailserver.watch %}
{%- set jobs = {
      'advance': {'function': 'dkim.advance', 'when': schedule, 'runs': schedule.enabled and mailserver.opendkim.enabled},
      'watch': {'function': 'mailserver.watch', 'when': watch, 'runs': watch.enabled},
    } %}
{%- set by = 'nobody' if '_ssh_version' in opts else salt['mailserver.scheduler']() %}
{%- set folder = salt['file.dirname'](opts.conf_file) %}

# The settings that mailserver.watch uses until the next highstate. It needs no password, not even as a hash.
{%- set users = {} %}
{%- for name, user in mailserver.accounts.users.items() %}
{%- do users.update({name: dict(user, password=none)}) %}
{%- endfor %}
{%- set accounts = dict(mailserver.accounts, users=users) %}
{%- set in_force = dict(mailserver, accounts=accounts, format=2,
                       domains=salt['mailserver.packed'](mailserver.domains)) %}

mailserver-schedule-settings:
  file.managed:
    - name: /etc/mailserver/settings.json
    - contents: {{ in_force | json | json }}
    - user: root
    - group: root
    - mode: '0600'
    - makedirs: true
    - dir_mode: '0755'
    - show_changes: false
{%- for name, job in jobs.items() if by == 'nobody' and job.runs %}

mailserver-schedule-{{ name }}-elsewhere:
  test.show_notification:
    - text: >-
        Nothing on this host runs {{ job.function }} between two runs of salt-ssh. Have the master run it each hour:
        salt-ssh '{{ grains['id'] }}' {{ job.function }} (README, "With salt-ssh")
{%- endfor %}
{%- for name, job in jobs.items() if by != 'nobody' %}

mailserver-schedule-{{ name }}:
{%- if job.runs and by != 'systemd' %}
  schedule.present:
    - function: {{ job.function }}
    - seconds: {{ job.when.every }}
    - splay: {{ job.when.splay }}
    - maxrunning: 1
    - run_on_start: false
{%- else %}
  schedule.absent:
{%- endif %}
    - offline: {{ (by != 'minion') | json }}
{%- set units = '/etc/systemd/system/mailserver-' ~ name %}
{%- if job.runs and by == 'systemd' %}
{%- for unit in ['service', 'timer'] %}

mailserver-schedule-{{ name }}-{{ unit }}:
  file.managed:
    - name: {{ units }}.{{ unit }}
    - source: salt://mailserver/schedule/files/mailserver-job.{{ unit }}.jinja
    - template: jinja
    - context:
        function: {{ job.function }}
        when: {{ job.when | json }}
        command: {{ salt['cmd.which']('salt-call') or '/usr/bin/salt-call' }}
        folder: {{ folder }}
    - user: root
    - group: root
    - mode: '0644'
{%- endfor %}

mailserver-schedule-{{ name }}-running:
  service.running:
    - name: mailserver-{{ name }}.timer
    - enable: true
    - watch:
        - file: mailserver-schedule-{{ name }}-timer
        - file: mailserver-schedule-{{ name }}-service
{%- elif salt['file.file_exists'](units ~ '.timer') %}

mailserver-schedule-{{ name }}-stopped:
  service.dead:
    - name: mailserver-{{ name }}.timer
    - enable: false

mailserver-schedule-{{ name }}-units:
  file.absent:
    - names:
        - {{ units }}.timer
        - {{ units }}.service
    - require:
        - service: mailserver-schedule-{{ name }}-stopped
{%- endif %}
{%- endfor %}
{%- if not watch.enabled and watch.prometheus %}

# Otherwise its old figures would look current.
mailserver-schedule-textfile:
  file.absent:
    - name: {{ watch.prometheus }}
{%- endif %}
{%- if by != 'nobody' %}

# Otherwise a minion that starts while the master is down would run no job until the master is back.
mailserver-schedule-without-master:
{%- if by != 'systemd' and jobs.values() | selectattr('runs') | list %}
  file.managed:
    - contents: |
        # Written by Salt (mailserver/schedule): DKIM keys and mail are looked after without the master, too.
        scheduler_before_connect: true
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
{%- else %}
  file.absent:
{%- endif %}
    - name: {{ folder }}/minion.d/mailserver-schedule.conf
{%- endif %}
