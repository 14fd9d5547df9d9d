"""OpenDKIM: its tables, its script's rows and the milter protocol."""
