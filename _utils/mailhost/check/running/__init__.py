"""Checks of what is running."""
