"""The processes: supervisor, workers, desk."""
