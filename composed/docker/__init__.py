"""Docker mode: Compose on one project, and the engine under it."""
