"""Leither Lite: a node that keeps an organization's ledger on the things people own already."""

__version__ = "0.1.0"
