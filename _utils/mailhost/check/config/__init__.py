"""Checks of the configuration, as it lies on disk."""
