"""Schema history, oldest first."""
