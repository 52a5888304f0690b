"""The database's volume in docker mode: its version, its credentials, its upgrade."""
