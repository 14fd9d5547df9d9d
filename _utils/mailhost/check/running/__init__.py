"""Checks of what runs."""
