"""Keep out of the log what comes every few seconds and says nothing new."""

import logging

__all__ = ["PROBES", "NoProbe"]

PROBES = ("/healthz", "/readyz")


class NoProbe(logging.Filter):
    """Drops Django's own line on the 503 of a probe, which has said why itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to keep the record."""
        return getattr(getattr(record, "request", None), "path_info", "") not in PROBES
