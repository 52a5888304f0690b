"""The gateway to the machine: processes, HTTP, ports, signals and the stack's own files.

All effects of the verbs go through a :class:`Gateway`; tests replace the methods. A dry run
is decided here: commands are shown, nothing is started or written.
"""

import contextlib
import fcntl
import io
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NamedTuple, TypeAlias, cast

from composed import files, machine
from composed.compose_files import as_typed
from composed.errors import DryRunEnded, Interrupted, NotFoundError, RefusedError
from composed.machine import Process
from composed.signals import signals_for_the_child
from composed.terminal import say

NOT_FOUND = 127  # as shells report a missing program
HTTP_SECONDS = 5.0
PID_BYTES = 20  # of the file of a lock

# What a child gets of the text on stdin.
Typed: TypeAlias = Literal["all", "answers", "none"]
_STDIN = {"all": None, "answers": subprocess.PIPE, "none": subprocess.DEVNULL}
# The end of the last line, as programs ask. A line like `Applying app.0001_initial...` is none.
_QUESTION = re.compile(rb"[:?>\])] *$")
LONGEST_QUESTION = 100  # bytes that are kept of it


class Answer(NamedTuple):
    """The exit code, stdout and stderr of a process."""

    code: int
    out: str
    err: str


class Pipe:
    """A process with stdin and stdout as streams, so that memory stays flat.

    A write to ``stdin`` raises BrokenPipeError when the process has ended.
    """

    def __init__(self, child: subprocess.Popen[bytes], err: IO[bytes]) -> None:
        self._child, self._err = child, err
        self._feeder: threading.Thread | None = None
        self._fault: Exception | None = None  # of the chunks that were fed
        self.stdin = cast("IO[bytes]", child.stdin)
        self.stdout = cast("io.BufferedReader", child.stdout)

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Write the chunks to stdin meanwhile; a process may end before the last chunk."""
        self._feeder = threading.Thread(target=self._feed, args=[chunks])
        self._feeder.start()

    def _feed(self, chunks: Iterable[bytes]) -> None:
        try:
            with contextlib.suppress(BrokenPipeError):
                for chunk in chunks:
                    self.stdin.write(chunk)
        except Exception as error:  # noqa: BLE001  # raised where the answer is wanted
            self._fault = error
        finally:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()

    def join(self) -> None:
        """Wait until the last chunk is written, or the process has ended."""
        if self._feeder:
            self._feeder.join()

    def end(self) -> Answer:
        """Close stdin, wait, and return the exit code with the rest of stdout.

        Raises an error of the chunks that were fed.
        """
        if not self._feeder:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()
        out = self.stdout.read()
        self.join()
        code = self._child.wait()
        if self._fault:
            raise self._fault
        self._err.seek(0)
        return Answer(code, out.decode(errors="replace"), self._err.read().decode(errors="replace"))


@dataclass(frozen=True)
class Gateway:
    """The machine seen from the folder ``cwd``; ``dry`` shows effects, ``echo`` every command."""

    cwd: Path
    dry: bool = False
    echo: bool = False

    def _environment(
        self, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the environment of a child in the folder ``cwd``, with ``env`` added.

        PWD is that folder, as the shell of the child would set it: Compose takes the name of the
        project from there, and Compose files use ``${PWD}``.
        """
        return {**os.environ, "PWD": str(as_typed(cwd or self.cwd)), **(env or {})}

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        insist: bool = False,
        without: bytes = b"",
        typed: Typed = "all",
    ) -> int:
        """Run ``argv`` on the terminal; return the exit code, in a dry run 0.

        ``env`` is added to the environment; ``without`` is removed from the child's stdout.
        ``typed`` is what the child gets of the text on stdin: all, nothing, or ``answers``,
        which are lines typed after a question. The rest is left to the next program.
        Raises :class:`Interrupted` for a signal, after the child has ended. A child like a
        shell may survive Ctrl-C and end well; with ``insist`` the verb ends with 130 even then.
        """
        if self.dry or self.echo:
            say(f"$ {shlex.join(argv)}")
        if self.dry:
            return 0
        sys.stdout.flush()
        with signals_for_the_child(self._compose_of, insist=insist) as signals:
            try:
                child = subprocess.Popen(
                    argv,
                    cwd=cwd or self.cwd,
                    env=self._environment(cwd, env),
                    stdin=_STDIN[typed],
                    stdout=subprocess.PIPE if without or typed == "answers" else None,
                    close_fds=False,  # a lock lasts as long as the child does
                )
            except OSError as error:
                say(f"{argv[0]}: {error.strerror}")
                return NOT_FOUND
            signals.belong_to(child)
            if child.stdout:
                with child.stdout:
                    _copy(child.stdout.fileno(), without, child.stdin)
            if child.stdin:
                child.stdin.close()
            code = child.wait()
        for number in signals.received:
            if insist or code or number != signal.SIGINT:
                raise Interrupted(number)
        return code

    def spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        listener: socket.socket | None = None,
    ) -> int:
        """Start ``argv`` in a session that outlives ``inv``, logging to ``log``; return the PID.

        The program gets the ``listener``, by the same number.
        """
        if self.echo:
            say(f"$ {shlex.join(argv)}")
        with _in_our_words(log):
            out = os.fdopen(files.opened(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")
        with out:
            os.set_blocking(out.fileno(), True)
            child = subprocess.Popen(
                argv,
                cwd=cwd,
                env=self._environment(cwd, env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                pass_fds=[listener.fileno()] if listener else [],
            )
        child.returncode = 0  # nobody waits for the child, and Python would warn of that
        return child.pid

    @contextlib.contextmanager
    def pipe(self, argv: Sequence[str], chunks: Iterable[bytes] = ()) -> Iterator[Pipe]:
        """Run ``argv`` until the end of the block; a missing program is :class:`NotFoundError`.

        ``chunks``, if any, are written to stdin while the block reads the output.
        """
        import tempfile  # noqa: PLC0415  # few verbs need temporary files, and `inv ps` is quick

        if self.echo:
            say(f"$ {shlex.join(argv)}")
        with tempfile.TemporaryFile() as err, _broken_pipes_as_errors():
            piped = subprocess.PIPE
            try:
                child = subprocess.Popen(
                    argv,
                    cwd=self.cwd,
                    env=self._environment(),
                    stdin=piped,
                    stdout=piped,
                    stderr=err,
                )
            except OSError as error:
                raise NotFoundError(f"{argv[0]}: {error.strerror}") from None
            pipe = Pipe(child, err)
            if chunks:
                pipe.feed(chunks)
            try:
                yield pipe
            finally:
                child.kill()  # without effect on a child that was waited for
                child.wait()
                pipe.join()  # the death of the child has ended a write
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
        """Return the answer of ``argv`` to ``text`` on stdin; a missing program answers 127.

        For questions: a dry run asks too, since a question changes nothing.
        """
        if self.echo:
            say(f"$ {shlex.join(argv)}")
        try:
            with _broken_pipes_as_errors():  # the process may end without reading stdin
                done = subprocess.run(
                    argv,
                    cwd=cwd or self.cwd,
                    env=self._environment(cwd, env),
                    input=text.encode(),
                    capture_output=True,
                    check=False,
                )
        except OSError as error:
            return Answer(NOT_FOUND, "", str(error))
        out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        return Answer(done.returncode, out, err)

    def do(self, argv: Sequence[str]) -> Answer:
        """Run ``argv`` for its effect; a dry run shows the command and answers 0."""
        if not self.dry:
            return self.ask(argv)
        say(f"$ {shlex.join(argv)}")
        return Answer(0, "", "")

    def end_dry_run(self, *commands: Sequence[str]) -> None:
        """End a verb in a dry run, after a look at the next commands: the rest needs results."""
        if self.dry:
            for argv in commands:
                say(f"$ {shlex.join(argv)}")
            raise DryRunEnded

    def fetch(self, url: str) -> tuple[int, str]:
        """Return status and text of the answer to a GET of ``url``; (0, "") without an answer.

        A server of this machine may have any certificate.
        """
        # `inv logs` is quick without.
        from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415
        from urllib.parse import urlsplit  # noqa: PLC0415

        parts = urlsplit(url)
        if parts.scheme == "https":
            from ssl import _create_unverified_context  # noqa: PLC0415

            context = _create_unverified_context()  # noqa: S323  # nothing secret is asked
            connection: HTTPConnection = HTTPSConnection(
                parts.netloc, timeout=HTTP_SECONDS, context=context
            )
        else:
            connection = HTTPConnection(parts.netloc, timeout=HTTP_SECONDS)
        try:
            with _broken_pipes_as_errors():
                connection.request("GET", parts.path)
                response = connection.getresponse()
                return response.status, response.read().decode(errors="replace")
        except (OSError, HTTPException):
            return 0, ""
        finally:
            connection.close()

    def is_bound(self, host: str, port: int) -> bool:
        """Return whether another socket has the port at this address."""
        return machine.is_bound(host, port)

    def listeners(self, port: int) -> dict[int, str]:
        """Return PID and name of each visible process that listens on the TCP port."""
        if (machine.PROC / "net/tcp").exists():
            return machine.listeners_from_proc(port)
        lsof = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
        return machine.listeners_from_lsof(self.ask(lsof).out)

    def listening_socket(self, pids: Iterable[int], port: int) -> socket.socket | None:
        """Return the socket on which one of the processes listens, if the kernel hands it out."""
        return machine.listening_socket(pids, port)

    def processes(self) -> list[Process]:
        """Return every living process."""
        if (machine.PROC / "self/stat").exists():
            return machine.processes_from_proc()
        return machine.processes_from_ps(self.ask(machine.PS).out)

    def kill(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process; :class:`RefusedError` if the process is another user's."""
        if self.dry:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        except PermissionError:
            problem = f"The server (PID {pid}) belongs to another user."
            raise RefusedError(problem, f"Type: sudo kill {pid}") from None

    def _compose_of(self, child: subprocess.Popen[bytes]) -> list[int]:
        """Return the PIDs of the plugins, such as Compose, that ``docker`` has started.

        On a terminal ``docker`` passes no signal on, since the terminal reaches plugins too.
        """
        if not isinstance(child.args, list) or child.args[0] != "docker":
            return []
        return [process.pid for process in self.processes() if process.parent == child.pid]

    def write(self, file: Path, text: str) -> None:
        """Replace a file whole or not at all, and make the folders above.

        Raises :class:`RefusedError` for another user's file and for a thing that is no file,
        :class:`InputOutputError` for a full disk.
        """
        if not self.dry:
            with _in_our_words(file):
                files.replace(file, text)

    def check_file(self, file: Path) -> None:
        """Raise the errors of :meth:`write` where a thing stands that is no file."""
        with _in_our_words(file):
            files.check(file, writes=True)

    def remove(self, file: Path) -> None:
        """Remove a file; a missing file is fine. Raises OSError, also for a folder."""
        if not self.dry:
            files.remove(file)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and the folders above, for the owner alone. See :meth:`write`."""
        if not self.dry:
            with _in_our_words(folder, "made"):
                files.make_folder(folder)

    def make_file(self, file: Path) -> None:
        """Make a missing file, empty, for the owner alone. See :meth:`write`."""
        if not self.dry:
            with _in_our_words(file, "made"):
                files.make_folder(file.parent)
                os.close(files.opened(file, os.O_RDWR | os.O_CREAT))

    def make_private(self, *paths: Path) -> None:
        """Take the rights of other users from these files and folders, where they exist."""
        for path in () if self.dry else paths:
            files.make_private(path)

    @contextlib.contextmanager
    def lock(self, file: Path) -> Iterator[None]:
        """Hold the lock while the block runs; a second verb waits and says so.

        Children of :meth:`run` share the lock, since they outlive a killed ``inv``: a second
        Compose beside them would trip over their containers.
        """
        if self.dry:
            yield
            return
        with _in_our_words(file):
            files.make_folder(file.parent)
            stream = os.fdopen(files.opened(file, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
        with stream:
            os.set_inheritable(stream.fileno(), True)
            if not is_free(stream):
                say(f"Waiting for {_holder(file, stream.read(PID_BYTES))} …")
                fcntl.flock(stream, fcntl.LOCK_EX)
            with contextlib.suppress(OSError):  # the lock works on a full disk too
                stream.truncate(0)
                stream.seek(0)
                stream.write(str(os.getpid()).encode())
            yield
            with contextlib.suppress(OSError):
                stream.truncate(0)  # a PID that stays is of an inv that was killed


@contextlib.contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[None]:
    """Hold the lock of a folder; a second ``inv`` waits, and says what the first is ``doing``.

    The lock is on the folder itself: no further file is made in a folder of the user's. A file
    system without such locks, as NFS, lets each ``inv`` go on at once.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, handle)
            if not is_free(handle):
                say(f"Waiting for another inv, which {doing} …")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_free(stream: IO[str] | IO[bytes] | int) -> bool:
    """Take the lock of an open file if the lock is free; return whether that succeeded."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _in_our_words(file: Path, use: str = "written") -> Iterator[None]:
    """Raise a fault of a file as the error of a verb."""
    try:
        yield
    except OSError as error:
        raise files.unusable(file, error, use) from None


def _holder(file: Path, written: bytes) -> str:
    """Return in words the process that has the lock; ``written`` is the PID in the lock's file.

    The ``inv`` of that PID may have been killed while a program that it had started goes on.
    """
    pid = int(written) if written.isdigit() else 0
    if pid and machine.is_alive(pid):
        return f"another inv (PID {pid})"
    if held := machine.lock_holders(file):
        names = ", ".join(f"{name} (PID {pid})" for pid, name in sorted(held.items()))
        return f"{names}, started by an inv that has ended"
    return "another inv"


def _copy(source: int, without: bytes, answers: IO[bytes] | None) -> None:
    """Copy to stdout at once; the sequence ``without`` may arrive in two parts.

    A line that the user types after a question goes to the pipe ``answers``.
    """
    kept = shown = b""
    while True:
        asks = answers and _QUESTION.search(shown)
        ready = select.select([source, *([0] if asks else [])], [], [])[0]
        if answers and source not in ready:
            with contextlib.suppress(BrokenPipeError):
                os.write(answers.fileno(), os.read(0, 65536))
            shown = b""
            continue
        if not (chunk := os.read(source, 65536)):
            break
        kept = (kept + chunk).replace(without, b"") if without else chunk
        parts = (size for size in range(len(without) - 1, 0, -1) if kept.endswith(without[:size]))
        whole = len(kept) - next(parts, 0)
        shown = (shown + kept[:whole])[-LONGEST_QUESTION:]
        sys.stdout.buffer.write(kept[:whole])
        sys.stdout.buffer.flush()
        kept = kept[whole:]
    sys.stdout.buffer.write(kept)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _broken_pipes_as_errors() -> Iterator[None]:
    """Turn SIGPIPE into BrokenPipeError: the signal would end the verb without a word."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)
