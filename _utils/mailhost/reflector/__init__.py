"""The reflector: it judges a message that it receives, and mails a report back."""
