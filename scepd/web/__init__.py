"""Twisted resources: limits while bytes arrive, the SCEP tree."""
