"""A run that is ended by a signal removes all stacks, also the stacks of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType
from typing import Any

import pytest

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_workers_too() -> None:
    """Have each signal that ends the run reach every process of the run, as a Ctrl-C."""
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, end)


def end(number: int, frame: FrameType | None) -> None:
    """Interrupt the run and all children, once: a second interrupt would stop the removal."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    subprocess.call(["pkill", "-INT", "-P", str(os.getpid())])
    raise KeyboardInterrupt


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Give workers time for the removal: pytest-xdist kills a worker after ten seconds."""
    session: Any = config.pluginmanager.get_plugin("dsession")
    session.nodemanager.EXIT_TIMEOUT = 50  # seconds
