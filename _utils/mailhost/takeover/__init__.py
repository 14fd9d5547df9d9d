"""Taking over a hand-made OpenDKIM configuration: its keys, its tables, and what would be lost."""
