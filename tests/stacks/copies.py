"""Copies of this repository, each with a separate stack on a real Docker Engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from composed.env.file import project_name
from composed.env.settings import assignments, declared
from tests.stacks.waiting import wait_until
from tests.web import Reply, request

ROOT = Path(__file__).parent.parent.parent
INV = str(Path(sys.executable).with_name("inv"))

# Kills: data that is thrown away needs no time to end well.
REMOVE = """
docker ps --all --quiet --filter "$0" | xargs --no-run-if-empty docker rm --force --volumes
docker network ls --quiet --filter "$0" | xargs --no-run-if-empty docker network rm
docker volume ls --quiet --filter "$0" | xargs --no-run-if-empty docker volume rm --force
docker images --quiet --filter "$0" | xargs --no-run-if-empty docker image rm --force
"""

Done = subprocess.CompletedProcess[str]


@dataclass
class Copy:
    """A clone of this repository; ``inv`` runs in the folder as in a terminal or a pipe."""

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

    def undo(self, done: Done, *options: str) -> None:
        """Type the command with which a verb's last line undoes the change."""
        self.ok(*done.stderr.splitlines()[-1].partition("inv ")[2].split(), *options, "--yes")

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a verb in a new process group, as a shell starts a job."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [self.program, *words],
            cwd=self.root,
            env=self.env,
            text=True,
            start_new_session=True,
            **(pipes | options),
        )

    def terminal(
        self, *words: str, columns: int = 100, env: Mapping[str, str] = {}
    ) -> pexpect.spawn[str]:
        """Start a verb in a terminal of 30 lines."""
        return pexpect.spawn(
            self.program,
            list(words),
            cwd=str(self.root),
            env={**os.environ, **self.env, **env},
            encoding="utf-8",
            dimensions=(30, columns),
            timeout=60,
        )

    def ps(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.ok("ps", "--json"))["services"]
        return {row["service"]: row for row in rows}

    @property
    def url(self) -> str:
        return str(self.ps()["backend"]["url"])

    @property
    def settings(self) -> dict[str, str]:
        return assignments((self.root / ".env").read_text())

    def append(self, name: str, text: str) -> None:
        with (self.root / name).open("a") as file:
            file.write(text)

    def docker(self, *args: str) -> str:
        return self.run("docker", *args).stdout

    def containers(self, *options: str) -> set[str]:
        """Return the ids of all containers of this project, also of one-off containers."""
        filter_ = ("--filter", self.label)
        return set(self.docker("ps", "--quiet", "--no-trunc", *filter_, *options).split())

    def container(self, service: str) -> str:
        """Return the id of the only container that runs a service."""
        (found,) = self.containers("--filter", f"label=com.docker.compose.service={service}")
        return found

    def processes(self, service: str) -> str:
        """Return the processes of a service, a line each, without a verb: verbs clean up."""
        return self.docker("top", self.container(service), "-o", "pid,args")

    @property
    def project(self) -> str:
        return self.settings["COMPOSE_PROJECT_NAME"]

    @property
    def own(self) -> Path:
        """The folder of the stack's records."""
        return self.root / ".composed" / self.project

    @property
    def label(self) -> str:
        """The filter for all that the engine has of this project."""
        return f"label=com.docker.compose.project={self.project}"

    def ask(self, path: str, *args: Any, **options: Any) -> Reply:
        return request(self.url + path, *args, **options)

    def titles(self) -> set[str]:
        return {item["title"] for item in self.ask("/api/tasks?limit=100").json["items"]}


def cut_off(copy: Copy, words: str, number: int, when: Callable[[], object]) -> int:
    """Start a verb and send a signal as soon as the condition holds; return the exit code."""
    process = copy.start(*words.split())
    wait_until(lambda: when() or process.poll() is not None, f"{words} half-way", 120)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


def owned(copy: Copy) -> dict[str, set[str]]:
    """Return the ids of all that the engine has of this project, by kind."""
    kinds = {"containers": "ps --all", "networks": "network ls", "volumes": "volume ls"}
    kinds["images"] = "image ls"
    asked = ("--quiet", "--filter", copy.label)
    ids = {kind: copy.docker(*words.split(), *asked).split() for kind, words in kinds.items()}
    return {kind: set(found) for kind, found in ids.items() if found}


def volumes(copy: Copy) -> set[str]:
    return owned(copy).get("volumes", set())


def assert_all_succeed(*processes: subprocess.Popen[str]) -> list[str]:
    """Wait for verbs that were started side by side; return the stdout of each."""
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return [stdout for stdout, _ in outputs]


@contextmanager
def changed(file: Path, old: str | bytes, new: str | bytes) -> Iterator[None]:
    """Replace a text of the file, and put the file back in the end."""
    good = file.read_bytes()
    old, new = (text.encode() if isinstance(text, str) else text for text in (old, new))
    assert old in good
    file.write_bytes(good.replace(old, new))
    try:
        yield
    finally:
        file.write_bytes(good)


def plain_environment(folder: Path) -> dict[str, str]:
    """Return the environment without the settings of whoever runs the tests."""
    ours = {*declared((ROOT / ".env.example").read_text()), "COMPOSE_ENV_FILES", "CI"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    kept = {name: value for name, value in kept.items() if not name.startswith("PYTEST_")}
    return kept | {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}


def clone(folder: Path, mode: str = "") -> Copy:
    """Copy all files that git knows or would take, committed, with separate ports."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".env").write_text("BACKEND_PORT=0\nDB_PORT=0\n")
    copy = Copy(folder, plain_environment(folder.parent))
    if mode:
        copy.env["COMPOSED_MODE"] = mode
    elif shutil.which("docker"):  # a test run in the same folder that was killed left its volume
        copy.run("sh", "-c", REMOVE, f"label=com.docker.compose.project={project_name(folder)}")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "-qm", "all"]):
        assert copy.run("git", *words).returncode == 0
    return copy


def with_defaults(copy: Copy, backend: int, db: int) -> Copy:
    """Make these the default ports; no line of ``.env`` names a port."""
    for name in ("docker-compose.yml", ".env.example"):
        file = copy.root / name
        text = re.sub(r"(BACKEND_PORT(?::-|=))8000", rf"\g<1>{backend}", file.read_text())
        file.write_text(re.sub(r"(DB_PORT(?::-|=))5433", rf"\g<1>{db}", text))
    (copy.root / ".env").unlink()
    return copy


def remove(copy: Copy) -> None:
    """Remove all that the stack has: processes, and on the engine by the label."""
    if not (copy.root / ".env").exists() or "COMPOSE_PROJECT_NAME" not in copy.settings:
        return  # no verb has begun
    copy.env["PATH"] = os.environ["PATH"]
    if (copy.own / "backend.json").exists():  # local mode
        copy.inv("down")
    if shutil.which("docker"):
        copy.run("sh", "-c", REMOVE, copy.label)
