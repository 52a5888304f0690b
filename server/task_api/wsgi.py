"""The WSGI application that Gunicorn serves."""

import os
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "task_api.settings")
application = get_wsgi_application()

# Load the URLs now: a mistake stops the worker at its start, not at the first request.
get_resolver().url_patterns  # noqa: B018


def limit_statements(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Limit every query of a request; commands never load this module and have no limit."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", [settings.STATEMENT_TIMEOUT])


connection_created.connect(limit_statements)
