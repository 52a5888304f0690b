"""The budgets, a function each: takes the bench, returns rows."""

import contextlib
import functools
import itertools
import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from results import Budget, Row
from stacks import Course, Ours, Stack
from tools import alternate, connection, cpu, fetch, peak_memory, run, until, wall

__all__ = ["MEASURES", "NOT_YET", "Bench"]

AnyStack = TypeVar("AnyStack", bound=Stack)


class Bench:
    """Both stacks, made at the first use and removed by `close`."""

    def __init__(self, inv: list[str], nox: list[str], scale: float = 1.0) -> None:
        self.inv = inv
        self.nox = nox
        self.scale = scale
        self._exit = contextlib.ExitStack()

    @functools.cached_property
    def ours(self) -> Ours:
        return self._prepared(Ours(self.inv))

    @functools.cached_property
    def course(self) -> Course:
        return self._prepared(Course())

    @property
    def both(self) -> tuple[Stack, Stack]:
        return self.ours, self.course

    def times(self, count: int) -> int:
        return max(1, round(count * self.scale))

    def close(self) -> None:
        self._exit.close()

    def _prepared(self, stack: AnyStack) -> AnyStack:
        self._exit.callback(stack.close)
        stack.prepare()
        return stack


def build(bench: Bench) -> list[Row]:
    def cold(stack: Stack) -> float:
        stack.fresh_cache_mounts()
        return wall(lambda: stack.compose("build", "--no-cache", "backend"))

    ours, course = _both(bench, 3, cold)
    return [Row("image built cold", Budget("ratio", 1.0), "s", ours, course)]


def first_row(bench: Bench) -> list[Row]:
    def timed(stack: Stack) -> float:
        stack.forget()
        return wall(stack.first_row)

    for stack in bench.both:
        stack.compose("build")
    ours, course = _both(bench, 3, timed)
    return [Row("first row read, images present", Budget("difference", 1.0), "s", ours, course)]


def ps(bench: Bench) -> list[Row]:
    bench.ours.up()
    with tempfile.TemporaryDirectory(prefix="bench-bare-") as folder:
        bare = Path(folder)
        (bare / "tasks.py").write_text("from invoke import task\n\n@task\ndef nothing(c): pass\n")
        whole, invoke, compose = alternate(
            bench.times(15),
            lambda: cpu(lambda: bench.ours.inv("ps")),
            lambda: cpu(lambda: run([*bench.inv, "nothing"], bare)),
            lambda: cpu(lambda: bench.ours.compose("ps")),
        )
    parts = [sum(pair) for pair in zip(invoke, compose, strict=True)]
    name = "CPU of inv ps; bare inv + docker compose ps"
    return [Row(name, Budget("difference", 25.0), "ms", whole, parts)]


def up(bench: Bench) -> list[Row]:
    bench.ours.up()
    ours, compose = alternate(
        bench.times(7),
        lambda: wall(lambda: bench.ours.inv("up")),
        lambda: wall(lambda: bench.ours.compose("up", "--detach", "--wait")),
    )
    name = "inv up, running; docker compose up --detach --wait"
    return [Row(name, Budget("difference", 0.5), "s", ours, compose)]


def requests(bench: Bench) -> list[Row]:
    ours, course = bench.both
    for stack in (ours, course):
        stack.with_rows(20)
        for _ in range(10):  # warm every worker and thread: each has a database connection
            _cpu_per_request(stack, stack.rows_path, 50)
    rows, peer, empty = alternate(
        10,
        lambda: _cpu_per_request(ours, ours.rows_path, bench.times(200)),
        lambda: _cpu_per_request(course, course.rows_path, bench.times(200)),
        lambda: _cpu_per_request(ours, "/api/bench-empty", bench.times(200)),
    )
    note = f"each sample the mean of {bench.times(200)} requests"
    return [
        Row("CPU per request, 20 rows", Budget("ratio", 0.15), "ms", rows, peer, note),
        Row("CPU per request, 20 rows; our empty view", Budget("ratio", 4.0), "ms", rows, empty),
    ]


def _cpu_per_request(stack: Stack, path: str, count: int) -> float:
    """Return CPU milliseconds per request, in all containers, for a keep-alive client."""
    before = stack.cpu_seconds()
    with connection(stack.port) as client:
        for _ in range(count):
            client.request("GET", path)
            answer = client.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{stack.project}: {path} answers {answer.status}")
    return (stack.cpu_seconds() - before) / count * 1000


def reload(bench: Bench) -> list[Row]:
    """Time edits; the note counts lost edits, which are never served and so have no time."""
    for stack in bench.both:
        stack.up()
    tried = _both(bench, 10, _save_to_served)
    ours, course = ([taken for taken in side if taken < LOST_AFTER] for side in tried)
    lost = len(tried[0]) - len(ours), len(tried[1]) - len(course)
    note = f"edits lost: ours {lost[0]}, peer {lost[1]}" if any(lost) else ""
    name = "saved view to served by every worker"
    return [Row(name, Budget("ratio", 1.0), "s", ours, course, note)]


LOST_AFTER = 15.0
IN_A_ROW = 8  # new connections that must agree: chance picks the worker


def _save_to_served(stack: Stack) -> float:
    # Reloaders poll about every second: an edit falls at any point between two polls.
    time.sleep(random.uniform(1.0, 2.5))
    stamp = str(time.time_ns())
    stack.save_views(stamp)
    saved = time.monotonic()
    agreed, since = 0, saved
    while agreed < IN_A_ROW and since - saved < LOST_AFTER:
        new = fetch(stack.port, "/bench/stamp") == (200, stamp)
        if not new or not agreed:
            since = time.monotonic()
        agreed = agreed + 1 if new else 0
        time.sleep(0.01)
    return since - saved


def stop(bench: Bench) -> list[Row]:
    for stack in bench.both:
        stack.up()
    rows = []
    for load, idle_client in (("no load", False), ("an idle keep-alive client", True)):
        ours, course = _both(bench, 3, functools.partial(_stop, idle_client=idle_client))
        rows.append(Row(f"stop of backend, {load}", Budget("limit", 1.5), "s", ours, course))
    return rows


def _stop(stack: Stack, idle_client: bool) -> float:
    stack.compose("start", "backend")
    if not until(stack.answers, 60):
        raise RuntimeError(f"{stack.project} does not answer")
    with connection(stack.port) as client:
        if idle_client:
            client.request("GET", stack.rows_path)
            client.getresponse().read()
        return wall(lambda: stack.compose("stop", "backend"))


def integration(bench: Bench) -> list[Row]:
    """Time the session without pytest's own seconds; the first run makes venv and image."""

    def beyond_tests() -> float:
        output = ""

        def session() -> None:
            nonlocal output
            output = run(bench.nox, bench.ours.folder)

        whole = wall(session)
        return whole - sum(map(float, re.findall(r" in ([\d.]+)s\b", output)))

    beyond_tests()
    samples = alternate(bench.times(3), beyond_tests)[0]
    return [Row("nox -s integration beyond its tests", Budget("limit", 15.0), "s", samples)]


def bootstrap(bench: Bench) -> list[Row]:
    """Time `./inv` beside the `inv` in `.venv` plus an empty Python, which `./inv` needs."""
    folder = bench.ours.folder
    run(["./inv", "--version"], folder)
    whole, inner, python = alternate(
        bench.times(25),
        lambda: wall(lambda: run(["./inv", "--version"], folder)) * 1000,
        lambda: wall(lambda: run([".venv/bin/inv", "--version"], folder)) * 1000,
        lambda: wall(lambda: run(["python3", "-c", "pass"], folder)) * 1000,
    )
    parts = [sum(pair) for pair in zip(inner, python, strict=True)]
    name = "./inv; .venv/bin/inv + python3 -c pass"
    return [Row(name, Budget("difference", 30.0), "ms", whole, parts)]


def data(bench: Bench) -> list[Row]:
    """Time snapshot and restore of a database of 1 GiB, beside the same programs typed by hand."""
    ours = bench.ours
    ours.up()
    small = peak_memory([*bench.inv, "db.snapshot"], ours.folder, ours.env)
    ours.fill()
    dump, names = ours.folder / "by-hand.dump", itertools.count()
    restore = ["db.restore", "--name", "large-0", "--no-snapshot", "--yes"]

    def settled(work: Callable[[], object]) -> float:
        ours.settle()
        return wall(work)

    snapshots, by_hand = alternate(
        bench.times(3),
        lambda: settled(lambda: ours.inv("db.snapshot", "--name", f"large-{next(names)}")),
        lambda: settled(lambda: ours.dump(dump)),
    )
    restores, restored_by_hand = alternate(
        bench.times(3),
        lambda: settled(lambda: ours.inv(*restore)),
        lambda: settled(lambda: ours.restore(dump)),
    )
    verbs = (["db.snapshot"], restore)
    large = [peak_memory([*bench.inv, *verb], ours.folder, ours.env) for verb in verbs]
    at_speed = Budget("ratio", 1.25)  # 0.8 of the speed
    memory = "peak memory of inv and its children, 1 GiB; an empty database"
    return [
        Row("db.snapshot of 1 GiB; pg_dump -Fc", at_speed, "s", snapshots, by_hand),
        Row("db.restore of 1 GiB; pg_restore", at_speed, "s", restores, restored_by_hand),
        Row(memory, Budget("difference", 16.0), "MiB", [max(large)], [small]),
    ]


def _both(bench: Bench, count: int, measure: Callable[[Stack], float]) -> list[list[float]]:
    ours, course = bench.both
    return alternate(bench.times(count), lambda: measure(ours), lambda: measure(course))


MEASURES: dict[str, Callable[[Bench], list[Row]]] = {
    "build": build,
    "first-row": first_row,
    "bootstrap": bootstrap,
    "ps": ps,
    "up": up,
    "reload": reload,
    "requests": requests,
    "stop": stop,
    "integration": integration,
    "data": data,
}

NOT_YET = [
    Row(
        "CPU per request, signed in",
        Budget("ratio", 0.2),
        "ms",
        note="not yet: signing in comes later",
    ),
    Row(".ci/run", Budget("limit", 25.0), "min", note="its own log has the time"),
]
