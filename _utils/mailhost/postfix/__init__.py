"""Postfix: its parameters, their values, its tables and its queue."""
