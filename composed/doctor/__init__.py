"""Every check of a project and its stack, for `inv doctor`, `inv env --check` and bundles."""
