"""Test messages of the formula that show whether mail flows."""
