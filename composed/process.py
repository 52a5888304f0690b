"""The one gateway to other processes: everything the verbs start is started here."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast

from composed.errors import Interrupted, NotFoundError
from composed.signals import signals_for_the_child
from composed.terminal import say

__all__ = ["Answer", "Gateway", "Pipe"]

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
        with signals_for_the_child(self, insist=insist) as signals:
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
            with _broken_pipes_as_errors():  # it may end before it has read its stdin
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
