"""Keep the log short: a refused request is one line, and a probe, which comes often, is none."""

import logging

__all__ = ["PROBES", "BriefRefusals"]

PROBES = ("/healthz", "/readyz")


class BriefRefusals(logging.Filter):
    """Drop Django's line about a 503, whose reason is logged already, and tracebacks of a 4xx."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record; shorten the record of a refused request."""
        status = getattr(record, "status_code", 500)
        if status < 500:
            record.exc_info = None
        return bool(status != 503)
