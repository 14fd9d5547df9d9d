"""The pillar of this formula: each key, and the reading of it into settings."""
