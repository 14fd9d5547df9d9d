# For the master's `reactor`: a mail host has records to publish, so have the orchestration look after that.
mailserver-publish:
  runner.state.orchestrate:
    - args:
        - mods: mailserver.publisher.orchestrate
        - pillar:
            mailserver_publish: {{ data['id'] | json }}
            mailserver_records: {{ (tag == 'mailserver/records/wanted') | json }}
