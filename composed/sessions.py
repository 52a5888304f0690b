"""A stack for the tests of a nox session, beside the developer's: see ``docs/adopt.md``.

A ``noxfile.py`` imports this module. nox itself is not imported here: the session brings it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from composed.data.connection import SCRIPT, read
from composed.docker.compose import OVERRIDE, compose_of
from composed.env.settings import NAME, load_settings
from composed.errors import ComposedError, InputOutputError, RefusedError
from composed.gateway import Gateway
from composed.project import Project, has_verbs, root_of

if TYPE_CHECKING:  # a project without nox has no sessions
    import nox

__all__ = ["Environment", "address", "stack"]

Environment: TypeAlias = dict[str, str]

# nox kills a child half a second after Ctrl-C. A verb may have to end containers first. Two
# seconds after Ctrl-C, which a terminal sends to children too, nox sends SIGTERM.
SECONDS_AFTER_CTRL_C = 2.0
SECONDS_TO_END = 60.0

LINES_OF_LOGS = "50"
LOCK, KEPT = "session.lock", ("session.lock", "failures")  # of the files in the stack's folder

_ENDING = (signal.SIGTERM, signal.SIGHUP)
ATTEMPTS = 3  # to end a server, which a second Ctrl-C may interrupt


@contextlib.contextmanager
def stack(
    session: nox.Session, *, mode: str = "docker", migrate: bool = True, build: bool = True
) -> Iterator[Environment]:
    """Start a stack of the session's own; yield the environment for ``session.run(…, env=env)``.

    Call it in the folder of the Compose file. With ``mode="local"``, Gunicorn and a SQLite file
    are the stack. ``migrate`` applies the migrations, ``build`` builds the images anew. When the
    block fails, logs and the path of a bundle are printed. Containers, volumes, networks and built
    images are removed in every case, also after Ctrl-C, SIGTERM and SIGHUP.
    """
    if mode not in ("docker", "local"):
        session.error(f"mode is {mode!r}. Valid: docker, local")
    own = _Own(session, mode)
    with _only_one(session, own.folder), _signals_as_ctrl_c():
        own.clear()  # what a killed run has left
        bundle = ""
        try:
            own.up(migrate=migrate, build=build)
            try:
                yield dict(own.env)
            except Exception as error:
                bundle = own.explain(error)
                raise
        except BaseException:
            own.remove(session.warn)  # the failure of the block counts
            if bundle:  # last, for the reader
                session.warn(bundle)
            raise
        own.remove(session.error)


def address(session: nox.Session, env: Environment) -> str:
    """Return the URL of the backend of a stack of :func:`stack`, whose environment is ``env``."""
    root = root_of(Path.cwd())
    shown = _run(session, [*_program(session, root), "ps", "--json"], env, silent=True)
    services = json.loads(shown)["services"]
    url = next((str(row["url"]) for row in services if row["url"]), "")
    if not url:
        session.error("The backend of the session's stack publishes no port, or has ended")
    return url


class _Own:
    """The stack of a session: its name, environment and folder."""

    def __init__(self, session: nox.Session, mode: str) -> None:
        self._session, self._mode = session, mode
        with _in_words(session):
            self._project = Project.at(root_of(Path.cwd()))
            self._inv = _program(session, self._project.root)
            if self._project.owns_env:  # a fresh clone has none
                _run(session, [*self._inv, "env"], {}, silent=True)
            self.name = _name(self._project, mode)
        self._gateway, self._model = Gateway(self._project.root), "{}"
        self.folder = self._project.folder(self.name)
        self.env = {NAME: self.name, "COMPOSED_MODE": mode}
        if mode == "local":  # 0: any free port
            self.env[self._project.backend_port] = "0"
            self.env["SQLITE_PATH"] = str(self.folder / "db.sqlite3")

    def up(self, *, migrate: bool, build: bool) -> None:
        """Start the stack; each verb explains its own failure, `up` with a bundle.

        The migrations come first, not by `up --migrate`: a health check that needs a table would
        fail before. There is no data yet to save in a snapshot.
        """
        if self._mode == "docker":
            with _in_words(self._session):
                self._write_override(build=build)
            if build:
                self._verb("build")
        with _in_words(self._session):
            self._check_database()
        if migrate:
            self._verb("migrate", "--no-snapshot")
        self._verb("up")

    def _verb(self, *words: str) -> None:
        _run(self._session, [*self._inv, *words], self.env)

    def explain(self, error: Exception) -> str:
        """Print the logs, write a bundle and return the line that names the bundle."""
        codes = range(256)
        logs = [*self._inv, "logs", "--tail", LINES_OF_LOGS]
        _run(self._session, logs, self.env, codes)
        step = f"{self._session.name}: {error or type(error).__name__}"
        doctor = [*self._inv, "doctor", "--bundle", "--", step]
        said = _run(self._session, doctor, self.env, codes, silent=True, err=subprocess.STDOUT)
        named = [line for line in said.splitlines() if line.startswith("Bundle: ")]
        return named[-1] if named else said

    def remove(self, tell: Callable[[str], None]) -> None:
        """Remove all of the stack but the bundles, whatever signal comes; ``tell`` a failure."""
        with _no_signal():
            try:
                self._end()
            except ComposedError as error:
                tell(f"{self.name} is not removed. {error}")

    def clear(self) -> None:
        """Remove what an earlier stack of this name has left."""
        with _in_words(self._session):
            self._end()

    def _end(self) -> None:
        if self._mode == "docker":
            from composed.docker.beside import remove  # noqa: PLC0415  # local mode needs none

            remove(self._gateway, self.name)
        elif (self.folder / "mode").exists():  # `up` has begun
            self._end_server()
        for file in self.folder.iterdir():
            if file.name not in KEPT:
                _remove(file)

    def _end_server(self) -> None:
        said = ""
        for _ in range(ATTEMPTS):
            end = [*self._inv, "down", "--volumes", "--no-snapshot", "--yes"]
            code, _, said = self._gateway.ask(end, env=self.env)
            if not code:
                return
        raise InputOutputError(said.strip())

    def _write_override(self, *, build: bool) -> None:
        from composed.docker.beside import override  # noqa: PLC0415

        project = self._project
        compose = compose_of(project, load_settings(project, os.environ | self.env), self._gateway)
        self._model = compose.ask("config", "--format", "json", env=self.env)
        text = override(self._model, self.name, build=build)
        self._gateway.write(self.folder / OVERRIDE, text)

    def _check_database(self) -> None:
        """Raise :class:`RefusedError` where Django would use the developer's database."""
        question = [*self._inv, "manage", "--", "shell", "-c", SCRIPT]
        shown = _run(self._session, question, self.env, silent=True)
        try:
            found = read(shown)
        except ValueError:
            problem = f"Django does not say which database it uses: {shown.strip() or 'no answer'}"
            raise RefusedError(problem, "Type: inv manage -- check") from None
        if self._mode == "docker":
            from composed.docker.beside import check_database  # noqa: PLC0415

            check_database(self._model, found)
        elif (self._project.tree / found.name).resolve() != Path(self.env["SQLITE_PATH"]).resolve():
            problem = f"In local mode, Django uses {found.name}, and not one of its own."
            cure = "Let the settings take the file from the variable SQLITE_PATH, if there is one."
            raise RefusedError(problem, cure)


def _name(project: Project, mode: str) -> str:
    """Return a stack name that no other folder's session has, on an engine for many machines."""
    own = load_settings(project)[NAME][:30]
    place = f"{socket.gethostname()}:{project.root.resolve()}"
    digest = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{own}-integration-{'local-' if mode == 'local' else ''}{digest}"


def _program(session: nox.Session, root: Path) -> list[str]:
    """Return the command that runs a verb: of the session's environment, else of nox's own.

    Local mode runs the server with the Python that runs the verb, so the session's comes first.
    """
    pythons = [str(Path(folder) / "python") for folder in session.bin_paths or ()]
    python = next((python for python in pythons if _has_composed(python)), sys.executable)
    return [python, "-m", "composed" if has_verbs(root) else "composed.door"]


def _has_composed(python: str) -> bool:
    """Return whether composed is installed there: a folder ``composed`` here is another thing."""
    argv = [python, "-I", "-c", "import composed.project"]
    try:
        return not subprocess.run(argv, check=False, stderr=subprocess.DEVNULL).returncode
    except OSError:  # a session without a virtual environment may name any folder
        return False


def _run(
    session: nox.Session,
    argv: list[str],
    env: Environment,
    codes: Any = (0,),
    *,
    silent: bool = False,
    err: int | None = None,
) -> str:
    """Run a verb, with time to end after a signal; return the stdout where ``silent``."""
    shown = session.run(
        *argv,
        env=env,
        external=True,
        silent=silent,
        log=not silent,  # a question is no step
        stderr=err,
        success_codes=codes,
        interrupt_timeout=SECONDS_AFTER_CTRL_C,
        terminate_timeout=SECONDS_TO_END,
    )
    return shown if isinstance(shown, str) else ""


@contextlib.contextmanager
def _in_words(session: nox.Session) -> Iterator[None]:
    """End the session with the words of an error of ours; nox would print a traceback."""
    try:
        yield
    except ComposedError as error:
        session.error(str(error).removesuffix("."))  # nox ends the sentence


@contextlib.contextmanager
def _only_one(session: nox.Session, folder: Path) -> Iterator[None]:
    """Refuse a second run in this folder: it would end the stack of the first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        session.error(f"{error.filename} cannot be written: {error.strerror}")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            session.error("Another run of this session is under way in this folder")
        yield


@contextlib.contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """End the block on SIGTERM (a canceled CI run) or SIGHUP (a closed terminal) as on Ctrl-C.

    Python would end at once on these signals, and remove nothing.
    """
    with _handled(_interrupt, _ENDING):
        yield


@contextlib.contextmanager
def _no_signal() -> Iterator[None]:
    """Let no signal end the block, which is short: something would be left for good."""
    with _handled(signal.SIG_IGN, (signal.SIGINT, *_ENDING)):
        yield


@contextlib.contextmanager
def _handled(handler: Any, numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup stays nohup
    }
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.default_int_handler(number, frame)


def _remove(file: Path) -> None:
    """Remove a file or a folder of the stack; another run may do the same."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file, ignore_errors=True)
    else:
        file.unlink(missing_ok=True)
