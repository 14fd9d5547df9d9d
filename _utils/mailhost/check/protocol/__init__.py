"""Checks of what the mail ports say to anyone."""
