"""OpenDKIM: its tables, the rows for its script, and the milter protocol."""
