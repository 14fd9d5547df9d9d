"""Publishing: TXT records are sent to a zone's primary server, and remembered as ours."""
