"""The node: everything of it that needs no socket, no file, no clock and no randomness."""
