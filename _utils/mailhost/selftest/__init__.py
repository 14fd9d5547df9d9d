"""Messages of the formula's own, by which it sees that mail flows."""
