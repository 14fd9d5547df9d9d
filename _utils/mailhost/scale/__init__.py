"""What keeps a host of thousands of domains fast."""
