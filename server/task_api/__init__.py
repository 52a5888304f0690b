"""A small task API: the Django project and its only app."""
