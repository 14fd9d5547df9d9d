# The last state of a run: what it did, and what is to be done now, such as records to publish.
mailserver-summary:
  mailserver.summary:
    - name: what this run did, and what is to be done
    - order: last
