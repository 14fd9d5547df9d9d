"""Central publishing: mail hosts ask for records, and the one host that holds the DNS credential publishes them."""
