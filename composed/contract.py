"""The words that the project's server prints or answers, and that this package looks for.

Neither side imports the other; ``tests/test_contract.py`` runs the server's files and holds
both sides to these words. A server without these words works, with fewer explanations.
"""

# server/healthcheck.py prints this, then the status and the body of a failed health check.
HEALTH_CHECK = "healthz: "
# server/reload.py logs this, then the exit code, and waits for a change of the source.
SERVER_ENDED = "reload: the server ended with"
# server/guarded_wsgi.py logs this, then the traceback, and answers every request with 500.
NOT_LOADED = "The application does not load"
# server/gunicorn.conf.py prints a line that matches this pattern, and exits.
INVALID_SETTING = r"[A-Z_]+: '.*' is not valid"
# server/task_api/probes.py answers /readyz with lists of migrations under these keys.
PENDING, UNKNOWN = "pending", "unknown"
# server/task_api/management/commands/migrate.py adds this to the name of a SQLite file for a lock.
MIGRATE_LOCK = ".migrate.lock"
