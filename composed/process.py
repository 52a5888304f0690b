"""The one gateway to other processes: everything the verbs start is started here."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple, cast

from composed.errors import Interrupted, NotFoundError
from composed.talk import say

__all__ = ["Answer", "Gateway", "Pipe", "end_as_shells_count"]

# Long enough for Compose to take its containers back after a Ctrl-C of its own.
SECONDS_BEFORE_PASSING_ON = 2.0

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

NOT_FOUND = 127  # as shells say that a program is missing


class Answer(NamedTuple):
    """What a process said: its exit code, its stdout and its stderr."""

    code: int
    out: str
    err: str


class Pipe:
    """A process whose stdin and stdout are in our hands, so that memory stays flat."""

    def __init__(self, child: subprocess.Popen[bytes], err: IO[bytes]) -> None:
        self._child, self._err = child, err

    @property
    def stdin(self) -> IO[bytes]:
        """What the process reads; it may end before it has read all (BrokenPipeError)."""
        return cast("IO[bytes]", self._child.stdin)

    @property
    def stdout(self) -> io.BufferedReader:
        """What the process writes."""
        return cast("io.BufferedReader", self._child.stdout)

    def end(self) -> Answer:
        """Close its stdin, wait, and return how it ended, with the rest of its stdout."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        out, code = self.stdout.read(), self._child.wait()
        self._err.seek(0)
        return Answer(code, out.decode(errors="replace"), self._err.read().decode(errors="replace"))


@dataclass(frozen=True)
class Gateway:
    """Starts processes in ``cwd``; ``dry`` shows commands instead of running them."""

    cwd: Path
    dry: bool = False
    echo: bool = False

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        insist: bool = False,
        without: bytes = b"",
    ) -> int:
        """Run ``argv`` on our own stdin, stdout and stderr; return its exit code.

        ``env`` is added to our environment; ``cwd`` is another folder than the
        root; ``without`` is left out of what the child writes to stdout. Raises
        :class:`Interrupted` when a signal came meanwhile, after the child has ended.
        A child like a shell may take Ctrl-C, go on and end well; with ``insist`` it
        is sent again, and we end with 130 all the same.
        """
        if self.dry or self.echo:
            say(f"$ {shlex.join(argv)}")
        if self.dry:
            return 0
        sys.stdout.flush()
        with _signals_for_the_child(self, insist=insist) as signals:
            try:
                child = subprocess.Popen(
                    argv,
                    cwd=cwd or self.cwd,
                    env={**os.environ, **(env or {})},
                    stdout=subprocess.PIPE if without else None,
                    close_fds=False,  # a lock of ours lasts as long as what it guards
                )
            except OSError as error:
                say(f"{argv[0]}: {error.strerror}")
                return NOT_FOUND
            signals.belong_to(child)
            if child.stdout:
                with child.stdout:
                    _copy(child.stdout.fileno(), without)
            code = child.wait()
        for number in signals.received:
            if insist or code or number != signal.SIGINT:
                raise Interrupted(number)
        return code

    def spawn(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
        """Start ``argv`` in the background, in a session of its own; return its PID.

        It outlives us and our terminal; what it prints is added to ``log``.
        """
        if self.echo:
            say(f"$ {shlex.join(argv)}")
        with log.open("ab") as out:
            child = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        child.returncode = 0  # not ours to wait for: else Python warns that it still runs
        return child.pid

    @contextlib.contextmanager
    def pipe(self, argv: Sequence[str]) -> Iterator[Pipe]:
        """Run ``argv`` while the block lasts, to be fed and read; killed when it has not ended.

        Raises :class:`NotFoundError` when the program is missing.
        """
        import tempfile  # noqa: PLC0415  # most verbs need none, and `inv ps` has to be quick

        if self.echo:
            say(f"$ {shlex.join(argv)}")
        with tempfile.TemporaryFile() as err, _broken_pipes_as_errors():
            ends = subprocess.PIPE
            try:
                child = subprocess.Popen(argv, cwd=self.cwd, stdin=ends, stdout=ends, stderr=err)
            except OSError as error:
                raise NotFoundError(f"{argv[0]}: {error.strerror}") from None
            pipe = Pipe(child, err)
            try:
                yield pipe
            finally:
                child.kill()  # without effect on one that was waited for
                child.wait()
                pipe.stdout.close()
                with contextlib.suppress(BrokenPipeError):
                    pipe.stdin.close()

    def ask(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        text: str = "",
    ) -> Answer:
        """Run ``argv`` for its answer alone; a program that is missing answers 127.

        ``text`` is its stdin. Runs in a dry run too: a question changes nothing.
        """
        if self.echo:
            say(f"$ {shlex.join(argv)}")
        try:
            done = subprocess.run(
                argv,
                cwd=cwd or self.cwd,
                env={**os.environ, **(env or {})},
                input=text.encode(),
                capture_output=True,
                check=False,
            )
        except OSError as error:
            return Answer(NOT_FOUND, "", str(error))
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return Answer(done.returncode, out, err)


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


def _copy(source: int, without: bytes) -> None:
    """Copy to our stdout as it comes; a sequence may come in two parts."""
    kept = b""
    while chunk := os.read(source, 65536):
        kept = (kept + chunk).replace(without, b"")
        parts = (size for size in range(len(without) - 1, 0, -1) if kept.endswith(without[:size]))
        whole = len(kept) - next(parts, 0)
        sys.stdout.buffer.write(kept[:whole])
        sys.stdout.buffer.flush()
        kept = kept[whole:]
    sys.stdout.buffer.write(kept)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _broken_pipes_as_errors() -> Iterator[None]:
    """Let a child that reads no more be an error to handle: the signal would end us unheard."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


class _Signals:
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
        if self._timer is not None:
            self._timer.cancel()


@contextlib.contextmanager
def _signals_for_the_child(gateway: Gateway, *, insist: bool) -> Iterator[_Signals]:
    signals = _Signals(gateway, insist=insist)
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
    from composed.local.process_table import processes  # noqa: PLC0415  # which starts from here

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
