"""Checks of what the world sees of the mail server in DNS."""
