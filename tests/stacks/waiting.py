"""Wait for a condition; a test never sleeps for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], object], description: str, seconds: float = 60) -> Any:
    """Return the condition's first true value; fail when none comes within so many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {description}"
        time.sleep(0.05)
    return value
