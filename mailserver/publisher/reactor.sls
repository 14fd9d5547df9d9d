# For the master's `reactor`: a mail host has records to publish, so have the orchestration look after that.
# Nothing of what a minion put into its event is passed on but a name, as one JSON string; the orchestration judges that.
{%- if data.get('id') is string %}
mailserver-publish:
  runner.state.orchestrate:
    - args:
        - mods: mailserver.publisher.orchestrate
        - pillar:
            mailserver_publish: {{ data['id'] | json }}
            mailserver_records: {{ (tag == 'mailserver/records/wanted') | json }}
{%- endif %}
