"""The scepd command, one module a noun."""
