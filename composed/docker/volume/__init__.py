"""The database's volume in docker mode: version, credentials, upgrade."""
