"""From what the operator writes to compiled settings."""
