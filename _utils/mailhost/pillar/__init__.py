"""The pillar of this formula: each key, and how it is read into settings."""
