"""What DNS says: questions to every authoritative server, and the way to them."""
