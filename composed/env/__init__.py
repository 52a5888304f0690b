"""The settings: where they stand, what they may be, whether they are right."""
