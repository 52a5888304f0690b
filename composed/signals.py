"""Signals: passed on to the child of a verb, which then ends with 128 and the signal's number."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from composed.errors import Interrupted

# Long enough for Compose to take the containers back after a Ctrl-C from the terminal.
SECONDS_BEFORE_PASSING_ON = 2.0

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_quietly() -> None:
    """Let a signal, or a pipe that nobody reads, end the process at once and without a word.

    For the time before and after a verb. Python alone would print a traceback.
    """
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def open_closed_streams() -> None:
    """Open the null device for each closed stream (`<&-`): the next file would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number free
            setattr(sys, name, open(number, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115


@contextlib.contextmanager
def signals_handled() -> Iterator[None]:
    """Let a signal end the verb in the block with 128 and its number, after every ``finally``."""
    open_closed_streams()
    end_quietly()  # the pipe
    sys.unraisablehook = _deliver_again
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        end_quietly()


def _deliver_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send the signal again if it came where Python drops an error, such as in a destructor."""
    error = unraisable.exc_value
    if isinstance(error, Interrupted):
        threading.Timer(0.01, os.kill, [os.getpid(), error.code - 128]).start()
    else:
        sys.__unraisablehook__(unraisable)


def check_terminal() -> None:
    """End the verb as SIGHUP does if the terminal was closed: a write can fail before SIGHUP."""
    try:
        os.write(1, b"")
        os.write(2, b"")
    except OSError as error:
        if error.errno == errno.EIO:  # not of a full disk
            raise Interrupted(signal.SIGHUP) from None


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give the signals that end a verb to ``handler`` while the block runs."""
    before = {
        number: signal.signal(number, handler)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup stays nohup
    }
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Hold a signal back while the block runs; the verb ends after the block."""
    received: list[int] = []
    with _handled(lambda number, _frame: received.append(number)):
        yield
    if received:
        raise Interrupted(received[0])


@dataclass
class Signals:
    """Signals received while a child runs, passed on to the child.

    ``children`` returns the PIDs of the child's children that need the signals too. With
    ``insist`` a Ctrl-C is passed on even where the terminal should have done so.
    """

    children: Callable[[subprocess.Popen[bytes]], list[int]]
    insist: bool
    received: list[int] = field(default_factory=list)
    timer: threading.Timer | None = None  # of a signal that is still to be passed on
    _child: subprocess.Popen[bytes] | None = None

    def belong_to(self, child: subprocess.Popen[bytes]) -> None:
        """Pass on to the child the signals that came during the start, and all later signals."""
        self._child = child
        for number in self.received:
            self._pass_on(number)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember the signal, and pass it on unless the terminal does so."""
        self.received.append(number)
        if number != signal.SIGINT or not _in_foreground():
            self._pass_on(number)
        elif self.insist:
            # A `kill -INT` reaches this process alone; or the child was not listening yet.
            self.timer = threading.Timer(SECONDS_BEFORE_PASSING_ON, self._pass_on, [number])
            self.timer.daemon = True
            self.timer.start()

    def _pass_on(self, number: int) -> None:
        if self._child is None:
            return
        for pid in self.children(self._child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self._child.send_signal(number)


@contextlib.contextmanager
def signals_for_the_child(
    children: Callable[[subprocess.Popen[bytes]], list[int]], *, insist: bool
) -> Iterator[Signals]:
    """Yield the signals that come while the block runs a child; no signal ends the verb."""
    signals = Signals(children, insist)
    with _handled(signals.note):
        try:
            yield signals
        finally:
            if signals.timer:
                signals.timer.cancel()


def _in_foreground() -> bool:
    """Return whether the terminal sends Ctrl-C to this process, and so to the children."""
    with contextlib.suppress(OSError), Path("/dev/tty").open("rb", buffering=0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False
