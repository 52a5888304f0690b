"""The ports that a stack publishes, and who else has them."""
