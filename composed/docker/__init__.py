"""Docker mode: Compose on one project, and the Docker Engine."""
