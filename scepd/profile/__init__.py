"""Profiles: what a requester may get."""
