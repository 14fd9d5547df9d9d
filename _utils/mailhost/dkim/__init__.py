"""DKIM keys: their life, their files, what DNS shows of them, and who signs."""
