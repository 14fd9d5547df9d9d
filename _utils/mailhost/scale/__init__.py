"""What keeps a host with thousands of domains fast."""
