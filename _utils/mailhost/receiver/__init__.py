"""What a receiver finds when it checks a message: SPF, DKIM and DMARC."""
