"""Local mode: the server as an ordinary process."""
