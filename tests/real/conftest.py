"""Copies of this repository, each with a stack of its own on a real Docker Engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pytest

from composed.env.settings import declared
from tests.web import Reply, request

ROOT = Path(__file__).parent.parent.parent
INV = str(Path(sys.executable).with_name("inv"))

# How a verb ends, and the code that a shell shows for it.
WAYS = {"Ctrl-C": 130, "SIGTERM": 143, "hang-up": 129, "SIGKILL": 137}

# Python's own traceback for a Ctrl-C would be right, too; it says when it does without.
SLEEP = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "print('under way', flush=True); time.sleep(611)"
)

# A run that is ended, or whose terminal is closed, takes its stacks back as on Ctrl-C.
for _number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is not signal.SIG_IGN:  # nohup stays nohup
        signal.signal(_number, signal.default_int_handler)

Done = subprocess.CompletedProcess[str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--environment", help="where test_package.py finds the wheel installed")


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30) -> Any:
    """Return the condition's first true value; fail when it stays false."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value


@dataclass
class Copy:
    """A clone to play with; ``inv`` runs in it as in a terminal or a pipe."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    program: str = INV

    def run(self, *argv: str, text: str = "", **env: str) -> Done:
        return subprocess.run(
            argv,
            cwd=self.root,
            env=self.env | env,
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def inv(self, *words: str, text: str = "", **env: str) -> Done:
        return self.run(self.program, *words, text=text, **env)

    def ok(self, *words: str, text: str = "", **env: str) -> str:
        """Run a verb that has to end with 0; return its stdout."""
        done = self.inv(*words, text=text, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a verb in a process group of its own, as a shell starts a job."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [self.program, *words],
            cwd=self.root,
            env=self.env,
            text=True,
            start_new_session=True,
            **(pipes | options),
        )

    def terminal(self, *words: str) -> pexpect.spawn[str]:
        """Start a verb in a terminal of 30 by 100."""
        return pexpect.spawn(
            self.program,
            list(words),
            cwd=str(self.root),
            env=os.environ | self.env,
            encoding="utf-8",
            dimensions=(30, 100),
            timeout=30,
        )

    def ps(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.ok("ps", "--json"))["services"]
        return {row["service"]: row for row in rows}

    def docker(self, *args: str) -> str:
        return self.run("docker", *args).stdout

    def containers(self, *options: str) -> set[str]:
        """Return the ids of all containers of this project, one-offs included."""
        mine = f"label=com.docker.compose.project={self.project}"
        return set(self.docker("ps", "--quiet", "--no-trunc", "--filter", mine, *options).split())

    @property
    def project(self) -> str:
        return str(json.loads(self.ok("ps", "--json"))["project"])

    def ask(self, path: str, *args: Any, **options: Any) -> Reply:
        return request(self.ps()["backend"]["url"] + path, *args, **options)

    def titles(self) -> set[str]:
        return {item["title"] for item in self.ask("/api/tasks?limit=100").json["items"]}


def finish(terminal: pexpect.spawn[str], way: str) -> int:
    """End the verb in this way; return the code that a shell would show."""
    assert terminal.pid
    if way == "hang-up":
        os.close(terminal.child_fd)
        terminal.closed = True
        code = os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1])
        return code if code >= 0 else 128 - code
    if way == "Ctrl-C":
        terminal.sendintr()
    else:
        os.kill(terminal.pid, signal.Signals[way])
    terminal.expect(pexpect.EOF)
    assert "Traceback" not in str(terminal.before)
    if way != "SIGKILL":  # then nothing of ours is left that could set the terminal right
        assert termios.tcgetattr(terminal.child_fd)[3] & termios.ECHO
    terminal.close()
    if terminal.exitstatus is not None:
        return int(terminal.exitstatus)
    return 128 + int(terminal.signalstatus or 0)


def plain_environment(folder: Path) -> dict[str, str]:
    """Return the environment without the settings of whoever runs the tests."""
    ours = {*declared((ROOT / ".env.example").read_text()), "COMPOSE_ENV_FILES", "CI"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}


def clone(folder: Path) -> Copy:
    """Copy what git knows or would take into ``folder``, committed, with ports of its own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".env").write_text("BACKEND_PORT=0\nDB_PORT=0\n")
    copy = Copy(folder, plain_environment(folder.parent))
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "-qm", "all"]):
        assert copy.run("git", *words).returncode == 0
    return copy


def with_defaults(copy: Copy, backend: int, db: int) -> Copy:
    """Make these the default ports, with nothing in ``.env`` that says otherwise."""
    for name in ("docker-compose.yml", ".env.example"):
        file = copy.root / name
        text = re.sub(r"(BACKEND_PORT(?::-|=))8000", rf"\g<1>{backend}", file.read_text())
        file.write_text(re.sub(r"(DB_PORT(?::-|=))5433", rf"\g<1>{db}", text))
    (copy.root / ".env").unlink()
    return copy


def number(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return number(probe)


@pytest.fixture
def holder() -> Iterator[socket.socket]:
    """Listen on a port, as this very process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


@pytest.fixture
def new_copy(tmp_path: Path) -> Iterator[Callable[..., Copy]]:
    """Make copies whose stacks are gone after the test."""
    made: list[Copy] = []

    def make(name: str = "shop", owner: int | None = None) -> Copy:
        copy = clone(tmp_path / name)
        made.append(copy)
        if owner is not None:
            subprocess.run(["chown", "--recursive", f"{owner}:{owner}", copy.root], check=True)
            copy.run("git", "config", "--global", "--add", "safe.directory", str(copy.root))
        return copy

    yield make
    for copy in made:
        end(copy)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Share a migrated stack among the tests of a module that leave it as it was."""
    copy = clone(tmp_path_factory.mktemp("stack") / "shop")
    try:
        copy.ok("up", "--migrate")
        yield copy
    finally:
        end(copy)


def end(copy: Copy) -> None:
    """Remove all that the copy's stack has, as processes and on the engine."""
    copy.env["PATH"] = os.environ["PATH"]
    copy.inv("env")
    copy.inv("down")
    if not shutil.which("docker"):
        return
    project = copy.project
    copy.inv("dc", "--", "down", "--volumes", "--remove-orphans", "--rmi", "local")
    copy.docker("image", "rm", "--force", f"{project}-backend-production")
