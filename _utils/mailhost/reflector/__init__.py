"""The reflector: it judges a message that it is sent, and mails the report back."""
