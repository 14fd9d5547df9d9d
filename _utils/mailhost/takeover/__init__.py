"""A hand-made OpenDKIM configuration is taken over: its keys, its tables and what would be lost."""
