"""The TCP ports of a stack."""
