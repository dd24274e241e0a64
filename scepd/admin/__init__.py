"""What a person may change, and who."""
