"""The daemons of a mail host: their ports, their firewall, and how they take a new configuration."""
