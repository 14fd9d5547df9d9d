# For the master's `reactor`: a mail host has records to publish, so start the orchestration.
# Of a minion's event only a name is passed on, as one JSON string; the orchestration validates it.
{%- if data.get('id') is string %}
mailserver-publish:
  runner.state.orchestrate:
    - args:
        - mods: mailserver.publisher.orchestrate
        - pillar:
            mailserver_publish: {{ data['id'] | json }}
            mailserver_records: {{ (tag == 'mailserver/records/wanted') | json }}
{%- endif %}
