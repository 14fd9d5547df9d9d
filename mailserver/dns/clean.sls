# The records stay in DNS; those that match the pillar are ours again once a later highstate publishes.
mailserver-dns-clean:
  file.absent:
    - names:
        - /etc/mailserver/published.json
        - /var/lib/mailserver/records.json
