"""The page of all mail hosts."""
