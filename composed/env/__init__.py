"""The env files: reading, completing, and the kinds of values."""
