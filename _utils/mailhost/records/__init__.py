"""The DNS records that a mail domain wants: their text, and how DNS differs."""
