"""The two stacks to compare, each a temporary copy, each driven as by users."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from cgroup import cpu_seconds
from tools import fetch, free_port, run, until

__all__ = ["Course", "Ours", "Stack"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# A view to edit and an empty view to time; the same file in both stacks.
VIEWS = """\
from django.http import HttpResponse

STAMP = "{stamp}"


def stamp(request):
    return HttpResponse(STAMP)


def empty(request):
    return HttpResponse()
"""
URLS = """

from django.urls import path as bench_path
from task_api import bench_views

# First; under /api/, because pages read the migrations, which costs time.
urlpatterns[:0] = [
    bench_path("bench/stamp", bench_views.stamp),
    bench_path("api/bench-empty", bench_views.empty),
]
"""


class Stack:
    """A copy of a stack under a new project name, and the ways to use the copy."""

    rows_path: str
    create_path: str

    def __init__(self, name: str) -> None:
        self.project = f"bench-{name}-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.project}-"))
        self.port = free_port()
        self.env = {"COMPOSE_PROJECT_NAME": self.project, "NO_COLOR": "1"}

    def prepare(self) -> None:
        """Fill the folder."""
        raise NotImplementedError

    def up(self) -> None:
        """Start the stack, in any state, and migrate; return once the stack answers."""
        raise NotImplementedError

    def compose(self, *args: str) -> str:
        return run(["docker", "compose", *args], self.folder, self.env)

    def answers(self) -> bool:
        return fetch(self.port, self.rows_path)[0] == 200

    def create_row(self) -> bool:
        return fetch(self.port, self.create_path, '{"title": "row"}')[0] == 201

    def first_row(self) -> None:
        """Start, wait, migrate, write a row and read the row back over HTTP."""
        self.up()
        if not until(self.create_row, 60) or not until(lambda: self.row_count() == 1, 60):
            raise RuntimeError(f"{self.project}: no row after a minute")

    def row_count(self) -> int:
        status, body = fetch(self.port, self.rows_path)
        if status != 200:
            return -1
        answer = json.loads(body)
        return len(answer if isinstance(answer, list) else answer["items"])

    def with_rows(self, count: int) -> None:
        """Start, migrate, and create rows up to the count."""
        self.up()
        while self.row_count() < count:
            if not until(self.create_row, 60):
                raise RuntimeError(f"{self.project} takes no row")

    def cpu_seconds(self) -> float:
        mine = f"label=com.docker.compose.project={self.project}"
        containers = run(["docker", "ps", "--quiet", "--filter", mine]).split()
        return sum(map(cpu_seconds, containers))

    def save_views(self, stamp: str) -> None:
        """Save in place, as an editor does."""
        (self.folder / "server/task_api/bench_views.py").write_text(VIEWS.format(stamp=stamp))

    def add_views(self) -> None:
        self.save_views("0")
        with (self.folder / "server/task_api/urls.py").open("a") as urls:
            urls.write(URLS)

    def fresh_cache_mounts(self) -> None:
        """Empty the cache mounts by a new id: `build --no-cache` keeps them."""
        dockerfile = self.folder / "server/Dockerfile"
        fresh = f"--mount=type=cache,id={self.project}-{time.time_ns()},"
        text = dockerfile.read_text()
        dockerfile.write_text(re.sub(r"--mount=type=cache,(id=[^,\s]+,)?", fresh, text))

    def forget(self) -> None:
        """Remove containers and data: the next start is a first start."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")

    def close(self) -> None:
        """Remove everything of this stack, even if half made."""
        with contextlib.suppress(RuntimeError):
            self.forget()
        mine = f"label=com.docker.compose.project={self.project}"
        if images := run(["docker", "image", "ls", "--quiet", "--filter", mine]).split():
            run(["docker", "image", "rm", "--force", *set(images)])
        shutil.rmtree(self.folder, ignore_errors=True)


# New names and host ports, for this machine; the rest stays as in the course.
OVERRIDE = """\
services:
  db:
    container_name: {project}-db
    ports: !override ["127.0.0.1::5432"]
    networks: {{default: {{aliases: [postgres-container]}}}}
  backend:
    container_name: {project}-backend
    ports: !override ["{port}:8000"]
"""


class Course(Stack):
    """The unchanged stack of the course, driven by a script that retries."""

    rows_path = create_path = "/api/tasks/"

    def __init__(self) -> None:
        super().__init__("course")

    def prepare(self) -> None:
        shutil.copytree(HERE / "course", self.folder, dirs_exist_ok=True)
        override = self.folder / "bench.yml"
        override.write_text(OVERRIDE.format(project=self.project, port=self.port))
        self.env["COMPOSE_FILE"] = "docker-compose.yml:bench.yml"
        self.add_views()

    def up(self) -> None:
        self.compose("up", "--detach")
        if not until(self._migrated, 120):
            raise RuntimeError(f"{self.project}: migrate never worked")
        if not until(self.answers, 60):
            raise RuntimeError(f"{self.project} does not answer")

    def _migrated(self) -> bool:
        """Return whether migrate worked: the first tries fail while the database starts."""
        migrate = ["docker", "exec", f"{self.project}-backend", "python", "manage.py", "migrate"]
        return subprocess.run(migrate, capture_output=True, check=False).returncode == 0


FILL = """
CREATE TABLE bench_rows AS
SELECT n, (SELECT string_agg(md5(n::text || i), ' ') FROM generate_series(1, 30) i) AS body
  FROM generate_series(1, 1050000) n
"""


class Ours(Stack):
    """This checkout with uncommitted changes, driven by `inv`."""

    rows_path = "/api/tasks?limit=20"
    create_path = "/api/tasks"

    def __init__(self, inv: list[str]) -> None:
        super().__init__("ours")
        self._inv = inv
        self.env |= {
            "BACKEND_PORT": str(self.port),
            "DB_PORT": str(free_port()),
            "COMPOSED_MODE": "docker",
        }

    def prepare(self) -> None:
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in run(listed, ROOT).split("\0"):
            if name and (ROOT / name).is_file():
                copy = self.folder / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy)
        self.add_views()
        self.inv("env")

    def inv(self, *args: str) -> str:
        return run([*self._inv, *args], self.folder, self.env)

    def up(self) -> None:
        self.inv("up", "--migrate")

    def fill(self) -> None:
        """Make a table of 1 GiB, in rows of 1 KiB that compress as text does."""
        self._psql("task_db", FILL)

    def settle(self) -> None:
        """Write earlier samples to the disk now: the next sample need not wait for them."""
        self._psql("postgres", "CHECKPOINT")

    def dump(self, file: Path) -> None:
        """Dump as typed by hand."""
        with file.open("wb") as target:
            self._by_hand(["pg_dump", "-U", "cp_user", "-Fc", "task_db"], stdout=target)

    def restore(self, file: Path) -> None:
        """Restore as typed by hand, into another database."""
        self._psql("postgres", "DROP DATABASE IF EXISTS by_hand")
        self._psql("postgres", "CREATE DATABASE by_hand")
        with file.open("rb") as source:
            self._by_hand(["pg_restore", "-U", "cp_user", "-d", "by_hand"], stdin=source)

    def _psql(self, database: str, command: str) -> None:
        self.compose("exec", "-T", "db", "psql", "-U", "cp_user", "-d", database, "-c", command)

    def _by_hand(self, argv: list[str], **ends: IO[bytes]) -> None:
        whole = ["docker", "compose", "exec", "-T", "db", *argv]
        env = {**os.environ, **self.env}
        subprocess.run(whole, cwd=self.folder, env=env, check=True, **ends)
