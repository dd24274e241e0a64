"""Issuers: who signs."""
