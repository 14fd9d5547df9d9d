"""The checks of a mail server, by area, and their findings."""
