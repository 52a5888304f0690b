"""Keep probes, which come every few seconds, out of the log."""

import logging

__all__ = ["PROBES", "NoProbe"]

PROBES = ("/healthz", "/readyz")


class NoProbe(logging.Filter):
    """Drop Django's line about the 503 of a probe: the probe has logged the reason."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record."""
        return getattr(getattr(record, "request", None), "path_info", "") not in PROBES
