"""Certificates: reading them, and getting them by ACME."""
