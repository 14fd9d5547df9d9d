"""Certificates: read, and got by ACME."""
