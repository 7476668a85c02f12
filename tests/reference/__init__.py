"""Slow, obvious, independent models of what the package does fast."""
