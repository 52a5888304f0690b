"""Hot reload: the changes that count, and that no change is lost."""

import errno
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, SERVER, get, started, wait_for
from reload import Supervisor, snapshot

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"{}"]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with the real supervisor and loader, and an application of one file."""
    for name in ("reload.py", "guarded_wsgi.py", "gunicorn.conf.py", "one_line.py"):
        (tmp_path / name).write_text((SERVER / name).read_text())
    (tmp_path / "task_api").mkdir()
    (tmp_path / "task_api" / "__init__.py").touch()
    (tmp_path / "task_api" / "wsgi.py").write_text(APP.format("one"))
    return tmp_path


@pytest.fixture
def port(tree: Path) -> Iterator[int]:
    command = [sys.executable, "reload.py", sys.executable, "-m", "gunicorn"]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "DEBUG": "true"}
    with started([*command, "guarded_wsgi:application"], env, tree) as (process, port):
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def served(port: int, status: int, text: str) -> bool:
    """Return whether every worker answers so: 12 times, for chance may pick the same worker."""
    try:
        answers = [get(port, "/") for _ in range(12)]
    except OSError:
        return False
    return all(code == status and text in body for code, body in answers)


def test_after_many_edits_the_last_is_served(tree: Path, port: int) -> None:
    source = tree / "task_api" / "wsgi.py"
    wait_for(lambda: served(port, 200, "one"))

    for number in range(20):  # of one size, within a second
        source.write_text(APP.format(f"{number:03}"))

    wait_for(lambda: served(port, 200, "019"))


@pytest.mark.parametrize(
    "mistake",
    ["def (", "no_such_name", "import no_such_module", "raise SystemExit('bye')"],
)
def test_a_mistake_is_shown_and_its_correction_served(tree: Path, port: int, mistake: str) -> None:
    source = tree / "task_api" / "wsgi.py"
    source.write_text(f"{mistake}\n")
    wait_for(lambda: served(port, 500, mistake))

    source.write_text(APP.format("two"))
    wait_for(lambda: served(port, 200, "two"))


def test_a_corrected_configuration_starts_the_server_again(tree: Path, port: int) -> None:
    config = tree / "gunicorn.conf.py"
    good = config.read_text()
    config.write_text("no_such_name\n")
    wait_for(lambda: not served(port, 200, "one"))

    config.write_text(good)
    wait_for(lambda: served(port, 200, "one"))


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the signal handlers of pytest back after the supervisor has set its own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_stop_while_the_server_is_being_started_is_forwarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Child(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            os.kill(os.getpid(), signal.SIGTERM)  # before the supervisor knows its child

    monkeypatch.setattr(subprocess, "Popen", Child)
    supervisor = Supervisor(["sleep", str(PATIENCE)], tmp_path)

    assert supervisor.run() == 128 + signal.SIGTERM


@pytest.mark.usefixtures("handlers")
def test_a_correction_saved_while_the_server_ends_starts_the_server_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Child:
        def __init__(self, number: int) -> None:
            self.number = number

        def wait(self, timeout: float) -> int:
            source = tmp_path / "a.py"
            if self.number == 0 and not source.exists():
                source.touch()
                raise subprocess.TimeoutExpired("server", timeout)
            return 1 - self.number

    children = map(Child, (0, 1))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: next(children))
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits for one more change"))

    assert Supervisor(["server"], tmp_path).run() == 0
    assert list(children) == []


# -- Changes that count -------------------------------------------------------------------


def test_every_kind_of_change_alters_the_snapshot(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("1")
    states = [snapshot(tmp_path)]

    source.write_text("22")
    states.append(snapshot(tmp_path))
    os.utime(source, ns=(1, 1))
    states.append(snapshot(tmp_path))
    (tmp_path / "b.html").write_text("")
    states.append(snapshot(tmp_path))
    source.unlink()
    states.append(snapshot(tmp_path))

    assert all(before != after for before, after in pairwise(states))


def test_files_that_are_not_source_do_not_count(tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    for name in ("db.sqlite3", ".hidden/a.py", "__pycache__/a.py", "tests/a.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert snapshot(tmp_path) == before


def names(root: Path, skipped: dict[str, str] | None = None) -> list[str]:
    return sorted(str(Path(path).relative_to(root)) for path in snapshot(root, skipped))


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A tree with every kind of entry that is no plain file or folder."""
    root, outside = tmp_path / "app", tmp_path / "outside"
    for folder in (root / "pages", outside / "deep", root / "env"):
        folder.mkdir(parents=True)
    for file in (root / "z.py", root / "pages/a.html", outside / "b.py", outside / "deep/c.py"):
        file.touch()
    (root / "env/pyvenv.cfg").touch()
    (root / "env/site.py").touch()
    for name, target in (
        ("again", root),
        ("again_too", "."),
        ("pages/up", ".."),
        ("same", "pages"),
        ("above", tmp_path),
        ("lib", outside),
        ("lib_too", outside / "deep"),
        ("itself", "itself"),
        ("gone", "nowhere"),
        ("itself.py", "itself.py"),
    ):
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe.py")
    return root


def test_each_folder_is_looked_at_once(linked: Path) -> None:
    skipped: dict[str, str] = {}

    found = names(linked, skipped)

    assert found == ["lib/b.py", "lib/deep/c.py", "pages/a.html", "pipe.py", "z.py"]
    reasons = {str(Path(path).relative_to(linked)): skipped[path] for path in sorted(skipped)}
    other, loop = "the folder is watched by another name", os.strerror(errno.ELOOP)
    assert reasons == {
        "above": "the link leads to a folder above",
        "again": other,
        "again_too": other,
        "env": "the folder is a virtual environment",
        "itself": loop,
        "itself.py": loop,
        "lib_too": other,
        "pages/up": other,
        "same": other,
    }


def test_names_stay_the_same_with_links(linked: Path) -> None:
    assert snapshot(linked) == snapshot(linked)
    before = snapshot(linked)
    (linked / "same").unlink()
    assert snapshot(linked) == before


def test_a_folder_that_cannot_be_read_is_said_once(
    linked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scandir = os.scandir

    def refuse(folder: str) -> Any:
        if folder.endswith("pages"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    supervisor = Supervisor(["true"], linked)
    supervisor.run()

    said = capsys.readouterr().err
    assert said.count("reload: pages is not watched: Permission denied\n") == 1
    assert said.count("reload: itself is not watched: ") == 1


def test_too_many_folders_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reload.MOST_FOLDERS", 3)
    for number in range(4):
        (tmp_path / f"f{number}").mkdir()
        (tmp_path / f"f{number}/a.py").touch()
    skipped: dict[str, str] = {}

    assert len(snapshot(tmp_path, skipped)) == 2
    assert {*skipped.values()} == {"there are more than 3 folders"}


def test_a_tree_that_was_removed_and_made_again_counts(tmp_path: Path) -> None:
    root = tmp_path / "app"
    assert snapshot(root) == {}
    root.mkdir()
    (root / "a.py").touch()
    assert names(root) == ["a.py"]


def test_an_edit_behind_links_to_itself_is_served(tree: Path, port: int) -> None:
    for name in ("one", "two"):
        (tree / name).symlink_to(tree)
    wait_for(lambda: served(port, 200, "one"))

    (tree / "task_api" / "wsgi.py").write_text(APP.format("two"))

    wait_for(lambda: served(port, 200, "two"))


def test_the_loader_reports_to_the_supervisor(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv("RELOAD_LOADED_FD", str(writer))

    runpy.run_path(str(tree / "guarded_wsgi.py"))

    assert os.read(reader, 10) == b"."
    os.close(reader)
    os.close(writer)
