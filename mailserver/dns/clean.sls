# The records stay in DNS; those that are as wanted are ours again once a highstate is back and publishes.
mailserver-dns-clean:
  file.absent:
    - names:
        - /etc/mailserver/published.json
        - /var/lib/mailserver/records.json
