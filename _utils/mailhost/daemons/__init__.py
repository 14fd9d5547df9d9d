"""The daemons of a mail host: their ports, their firewall, and how they activate a new configuration."""
