# The copies of configurations that are staged or were seen to serve.
mailserver-kept-clean:
  file.absent:
    - names:
        - /var/lib/mailserver/staged
        - /var/lib/mailserver/kept
