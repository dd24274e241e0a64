"""Certificates, names, keys and lint: drafts before signatures."""
