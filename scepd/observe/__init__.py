"""Logs, metrics, audit."""
