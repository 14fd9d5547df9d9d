"""What a host had before this formula, and what it brought: found, kept, and given back."""
