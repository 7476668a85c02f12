"""What the store holds and how the core reads it."""
