"""What a receiver makes of a message: SPF, DKIM and DMARC."""
