"""Checks of the configuration on disk."""
