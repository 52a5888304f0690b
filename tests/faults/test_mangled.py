"""State that is mangled ends a verb with a sentence: no traceback, no hang, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.mangling import mangles_of
from tests.stacks.copies import ROOT, plain_environment

CASES = int(os.environ.get("MANGLED_CASES", "300"))
SECONDS = 20.0  # until a verb counts as hanging
CODES = {0, *range(64, 79)}

ENV = """\
COMPOSE_PROJECT_NAME=shop
APP_UID=1000
APP_GID=1000
POSTGRES_PASSWORD=kept-kept-kept-kept-kept-kept-kept-kept
SECRET_KEY=kept-kept-kept-kept-kept-kept-kept-kept-kept
"""
START = {"pid": 2, "since": "0", "port": 8000, "at": 1.5, "folder": ""}

OWN = ".composed/shop"
TARGETS = (
    *(".env", ".env", ".env", ".env.example", "pyproject.toml", "pyproject.toml"),
    *("data/snapshots/bad/manifest.json",) * 6,
    *("data/snapshots/bad/database.dump", "data/snapshots/bad", "data/.snapshots.counter"),
    *(f"{OWN}/mode", f"{OWN}/backend.json", f"{OWN}/backend.json", f"{OWN}/backend.pid"),
    *(f"{OWN}/backend.log", f"{OWN}/backend.log.1", f"{OWN}/swaps/call", f"{OWN}/swaps"),
    *(f"{OWN}/lock", f"{OWN}/data.lock", f"{OWN}/stopping", f"{OWN}/restored.sqlite3", OWN),
    *(f"{OWN}/failures", "data/snapshots/.cut.half-made"),
    *("dump.sqlite3",) * 3,
    *("data/db.sqlite3", "data/db.sqlite3", "data/db.sqlite3-wal", "data/db.sqlite3-shm"),
)
DATABASES = ("dump.sqlite3", "data/db.sqlite3")  # mangled rows may be restored
VERBS = (
    *("ps", "ps --json", "db.list", "db.list --json", "db.snapshot --name new", "down", "logs"),
    *("db.restore --name good --yes", "db.restore --name bad --yes", "db.restore --latest --yes"),
    *("db.prune --keep 1 --yes", "env", "--dry up", "doctor --bundle", "db.snapshot"),
)

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Run a verb in a folder; see ``forked.py``."""
    env = plain_environment(tmp_path) | {"COMPOSED_MODE": "local", "PYTHONPATH": str(ROOT)}
    argv, piped = [sys.executable, "-m", "tests.faults.forked"], subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdin=piped, stdout=piped, text=True) as server:
        assert server.stdin
        assert server.stdout
        stdin, stdout = server.stdin, server.stdout

        def run(folder: Path, *words: str) -> dict[str, Any]:
            question = {"folder": str(folder), "words": words, "seconds": SECONDS}
            print(json.dumps(question), file=stdin, flush=True)
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer

        yield run
        stdin.close()


@pytest.fixture
def good(ask: Ask, tmp_path: Path) -> Path:
    """A project in local mode with a table, two snapshots, and each kind of record."""
    root = tmp_path / "good"
    for name in ("tasks.py", "pyproject.toml", ".env.example", "server/manage.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in ("settings.py", "wsgi.py"):
        (root / "server/task_api").mkdir(exist_ok=True)
        shutil.copy(ROOT / "server/task_api" / name, root / "server/task_api" / name)
    (root / ".env").write_text(ENV)
    (root / "data").mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(root / "data/db.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE shop (name text)")
        connection.executemany("INSERT INTO shop VALUES (?)", [("tea",)] * 100)
    for name in ("bad", "good"):
        done = ask(root, "db.snapshot", "--name", name)
        assert done["code"] == 0, done
    shutil.copy(root / "data/db.sqlite3", root / "dump.sqlite3")
    for suffix in ("-wal", "-shm"):
        (root / f"data/db.sqlite3{suffix}").touch()
    own = root / OWN
    (own / "swaps").mkdir()
    records = {"mode": "local", "backend.json": json.dumps(START), "backend.pid": "2\n"}
    records |= {"backend.log": "a line\n" * 99, "backend.log.1": "old\n", "swaps/call": ""}
    records |= {"stopping": "", "restored.sqlite3": "half", "lock": "99", "data.lock": ""}
    for name, text in records.items():
        (own / name).write_text(text)
    (own / "failures").mkdir()
    (root / "data/snapshots/.cut.half-made").mkdir()
    return root


def lost(root: Path, target: str, before: dict[str, bytes], *, rows: bool) -> list[str]:
    """Return the content of the user's that is no longer there; with ``rows``, also of the data."""
    found = []
    if rows:
        with contextlib.closing(sqlite3.connect(root / "data/db.sqlite3")) as connection:
            seen = connection.execute("SELECT count(*), max(name) FROM shop").fetchall()
        found += [] if seen == [(100, "tea")] else [f"rows: {seen}"]
    for name, content in before.items():
        file = root / name
        if name != target and not (file.is_file() and content in file.read_bytes()):
            found.append(name)
    return found


def kept(root: Path) -> dict[str, bytes]:
    names = ["pyproject.toml", ".env.example", "server/manage.py"]
    names += [f"data/snapshots/good/{name}" for name in ("manifest.json", "database.dump")]
    lines = b"SECRET_KEY=kept-kept-kept-kept-kept-kept-kept-kept-kept\n"
    return {name: (root / name).read_bytes() for name in names} | {".env": lines}


def standing(file: Path) -> tuple[int, str]:
    """Return the kind of the thing at the path, and where a link leads."""
    mode = file.lstat().st_mode
    return stat.S_IFMT(mode), str(file.readlink()) if stat.S_ISLNK(mode) else ""


@pytest.mark.timeout(0)  # each verb has a limit of its own
def test_mangled_state_ends_with_a_sentence(
    ask: Ask, good: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("MANGLED_SEED") or secrets.randbelow(10**9))
    kinds = ("tracebacks", "hangs", "wrong exit codes", "losses")
    faults: dict[str, list[str]] = {kind: [] for kind in kinds}
    before = kept(good)
    for number in range(CASES):
        random = Random(f"{seed} {number}")  # to be repeated
        root = tmp_path / "shop"
        shutil.copytree(good, root, symlinks=True)
        target, words = random.choice(TARGETS), random.choice(VERBS).split()
        file = root / target
        if target == "dump.sqlite3":
            words = ["db.restore", "--from", target, "--yes"]
        mangle = random.choice(mangles_of(file))
        mangle(random, file)
        stood = standing(file)
        done = ask(root, *words)
        case = f"case {number}: {mangle.__name__} of {target}, inv {' '.join(words)}"
        case += f": {done['code']}\n{done['output'][-1500:]}"
        code, output = done["code"], done["output"]
        if code is None:
            faults["hangs"].append(case)
        elif code not in CODES:
            faults["wrong exit codes"].append(case)
        if "Traceback" in output:
            faults["tracebacks"].append(case)
        special = not stat.S_ISREG(stood[0]) and target in before
        if special and standing(file) != stood:
            faults["losses"].append(f"replaced, {case}")
        if words[:1] == ["db.list"] and "snapshots/bad/" in target and "good" not in output:
            faults["losses"].append(f"not listed, {case}")
        is_data = target.startswith(DATABASES)
        if missing := lost(root, target, before, rows=not is_data):
            faults["losses"].append(f"{missing}, {case}")
        subprocess.run(["chmod", "-R", "u+rwX", root], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(root)
    figures = ", ".join(f"{len(cases)} {kind}" for kind, cases in faults.items())
    record_property("figures", f"mangled state, seed {seed}: {CASES} cases, {figures}")
    assert not any(faults.values()), f"MANGLED_SEED={seed}\n" + "\n\n".join(
        f"{kind}, {case}" for kind, cases in faults.items() for case in cases[:5]
    )
