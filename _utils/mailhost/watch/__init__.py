"""The watch: what changed between runs of the check, and who is notified."""
