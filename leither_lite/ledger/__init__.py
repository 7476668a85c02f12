"""Accounts, operations and bodies of a level-1 group."""
