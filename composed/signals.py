"""What signals do to a verb: it ends when what it runs has, and as shells count."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from composed.errors import Interrupted

if TYPE_CHECKING:
    from composed.process import Gateway

__all__ = ["Signals", "end_as_shells_count", "postponed", "signals_for_the_child"]

# Long enough for Compose to take its containers back after a Ctrl-C of its own.
SECONDS_BEFORE_PASSING_ON = 2.0

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_as_shells_count() -> None:
    """Make a signal end a verb with 128 and its number, and a closed pipe end it silently.

    Invoke alone would exit with 1 for Ctrl-C and print a traceback for the pipe;
    the other signals would leave what a ``finally`` removes.
    """
    _open_what_is_closed()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _interrupt)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


def _open_what_is_closed() -> None:
    """Give closed standard streams (``<&-``) to nobody: the next file opened would be one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number free
            setattr(sys, name, open(number, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Let a signal that comes while the block runs end us when the block is over."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda came, _frame: received.append(came))
        for number in ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise Interrupted(received[0])


class Signals:
    """Signals that arrive while a child runs are the child's; we end when it has."""

    def __init__(self, gateway: Gateway, *, insist: bool) -> None:
        self.received: list[int] = []
        self._gateway = gateway
        self._insist = insist
        self._child: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None

    def belong_to(self, child: subprocess.Popen[bytes]) -> None:
        """Name the child, which gets what came while it was being started."""
        self._child = child
        for number in self.received:
            self._pass_on(number)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember the signal; pass it on unless the terminal sent it to the child too."""
        self.received.append(number)
        if number != signal.SIGINT or not _in_foreground():
            self._pass_on(number)
        elif self._insist:
            # Perhaps it was `kill -INT` all the same: then only we have it. Or the
            # child was not listening yet.
            self._timer = threading.Timer(SECONDS_BEFORE_PASSING_ON, self._pass_on, [number])
            self._timer.daemon = True
            self._timer.start()

    def _pass_on(self, number: int) -> None:
        if self._child is None:
            return
        for pid in _plugins(self._child, self._gateway):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self._child.send_signal(number)

    def stop(self) -> None:
        """Pass nothing more on."""
        if self._timer is not None:
            self._timer.cancel()


@contextlib.contextmanager
def signals_for_the_child(gateway: Gateway, *, insist: bool) -> Iterator[Signals]:
    """Keep signals from ending us while the block runs a child; give those that came.

    With ``insist`` the child is sent a Ctrl-C again that the terminal may not have sent it.
    """
    signals = Signals(gateway, insist=insist)
    before = {}
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            before[number] = signal.signal(number, signals.note)
    try:
        yield signals
    finally:
        signals.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _plugins(child: subprocess.Popen[bytes], gateway: Gateway) -> list[int]:
    """Return the processes that ``docker`` has started: Compose is one.

    On a terminal ``docker`` passes no signal on: it trusts that the terminal does.
    """
    from composed.process_table import processes  # noqa: PLC0415  # a signal is rare

    if not isinstance(child.args, list) or child.args[0] != "docker":
        return []
    return [process.pid for process in processes(gateway) if process.parent == child.pid]


def _in_foreground() -> bool:
    """Say whether the terminal sends its Ctrl-C to us, and so to our children."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
