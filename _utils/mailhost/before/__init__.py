"""What a host had before this formula, and what the formula brought: found, kept, and restored."""
