"""The gateway: commands shown and run, signals, pipes, locks."""

import contextlib
import fcntl
import os
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from composed import signals
from composed.errors import Interrupted, NotFoundError
from composed.gateway import Gateway
from tests.samples import ROOT, Capsys, MonkeyPatch

Send = Callable[[int], None]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}

# Says when a signal can be sent.
LISTENER = """
import os, signal, sys
signal.signal(signal.{name}, lambda *_: os._exit({code}))
os.kill({parent}, signal.SIGUSR1)
signal.pause()
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def task(folder: Path, body: str) -> list[str]:
    """Write a ``tasks.py`` with one verb; return the command that runs the verb."""
    head = """\
import os, signal, sys
from pathlib import Path
from invoke import task
from composed.gateway import Gateway
from composed.signals import signals_handled
@task
def verb(c):
    with signals_handled():
"""
    (folder / "tasks.py").write_text(head + textwrap.indent(body, "        "))
    return [sys.executable, "-m", "invoke", "verb"]


def listener(number: signal.Signals, code: int = 0) -> list[str]:
    return python(LISTENER.format(name=number.name, code=code, parent=os.getpid()))


@pytest.fixture
def when_it_listens(monkeypatch: MonkeyPatch) -> Iterator[Send]:
    """Send this process, in the background, a signal as soon as the child listens."""
    before = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr(signals, "_in_foreground", lambda: False)

    def send(number: int) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), number))

    yield send
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def ending_sigpipe() -> Iterator[None]:
    """Let a broken pipe end the process, as in a verb."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGPIPE, before)


def test_a_child_may_take_ctrl_c_and_end_well(when_it_listens: Send, gateway: Gateway) -> None:
    when_it_listens(signal.SIGINT)

    assert gateway.run(listener(signal.SIGINT)) == 0


@pytest.mark.parametrize(
    ("number", "code", "insist"),
    [
        *((number, 0, True) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
        (signal.SIGINT, 7, False),  # a child that fails
        (signal.SIGTERM, 0, False),  # a request to end
    ],
)
def test_a_signal_ends_the_child_and_then_the_verb(
    number: signal.Signals, code: int, insist: bool, when_it_listens: Send, gateway: Gateway
) -> None:
    when_it_listens(number)

    with pytest.raises(Interrupted) as caught:
        gateway.run(listener(number, code), insist=insist)

    assert caught.value.code == 128 + number


def test_a_signal_reaches_the_plugin_that_docker_has_started(
    when_it_listens: Send, monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ntrap '' TERM\n{shlex.join(listener(signal.SIGTERM))}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    when_it_listens(signal.SIGTERM)

    with pytest.raises(Interrupted):
        Gateway(tmp_path).run(["docker", "compose"])


def test_a_sequence_to_leave_out_may_come_in_two_parts(
    gateway: Gateway, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    parts = [b"<<>a<", b"<>b", b"<<", b">", b"c<"]
    script = f"import os, time\nfor part in {parts}: os.write(1, part); time.sleep(0.02)"

    assert gateway.run(python(script), without=b"<<>") == 0

    assert capfdbinary.readouterr().out == b"abc<"


def test_a_child_of_a_killed_inv_keeps_the_lock(tmp_path: Path) -> None:
    killed = """\
gateway = Gateway(Path())
with gateway.lock(Path('lock')):
    gateway.run(['sh', '-c', f'kill -9 {os.getpid()}; echo; read x'])
"""
    argv, piped = task(tmp_path, killed), subprocess.PIPE
    with subprocess.Popen(argv, cwd=tmp_path, env=ENV, stdin=piped, stdout=piped) as first:
        assert first.stdin
        assert first.stdout
        first.stdout.readline()
        first.wait()
        with (tmp_path / "lock").open() as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first.stdin.close()
            fcntl.flock(lock, fcntl.LOCK_EX)


def test_a_ctrl_c_that_the_child_missed_is_passed_on(
    when_it_listens: Send, monkeypatch: MonkeyPatch, gateway: Gateway
) -> None:
    monkeypatch.setattr(signals, "_in_foreground", lambda: True)
    monkeypatch.setattr(signals, "SECONDS_BEFORE_PASSING_ON", 0.01)
    when_it_listens(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        gateway.run(listener(signal.SIGINT), insist=True)

    assert caught.value.code == 130


def test_the_handlers_of_signals_are_restored(gateway: Gateway) -> None:
    before = signal.getsignal(signal.SIGTERM)

    gateway.run(python(""))

    assert signal.getsignal(signal.SIGTERM) is before


def test_a_child_runs_in_the_root_with_the_added_variables_and_gives_the_exit_code(
    gateway: Gateway, tmp_path: Path, capfd: Capsys
) -> None:
    script = "import os; print(os.getcwd(), os.environ['ADDED'], 'PATH' in os.environ); exit(42)"

    assert gateway.run(python(script), env={"ADDED": "x"}) == 42

    assert capfd.readouterr().out == f"{tmp_path.resolve()} x True\n"


def test_a_shown_command_is_quoted_for_copy_and_paste(tmp_path: Path, capfd: Capsys) -> None:
    Gateway(tmp_path, echo=True).run(["true", "a b", "$x"])

    assert capfd.readouterr() == ("", "$ true 'a b' '$x'\n")


def test_a_dry_run_shows_the_command_alone(tmp_path: Path, capfd: Capsys) -> None:
    assert Gateway(tmp_path, dry=True).run(["touch", "x"]) == 0

    assert capfd.readouterr().err == "$ touch x\n"
    assert not (tmp_path / "x").exists()


def test_an_answer_has_exit_code_stdout_and_stderr(gateway: Gateway) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"

    assert gateway.ask(python(script)) == (3, "out\n", "err\n")


def test_a_missing_program_answers_127(gateway: Gateway) -> None:
    assert gateway.ask(["no-such-program"]).code == 127


def test_a_pipe_writes_and_reads_piece_by_piece(gateway: Gateway) -> None:
    script = "import sys; [print(line.upper(), end='', flush=True) for line in sys.stdin]"

    with gateway.pipe(python(script)) as pipe:
        pipe.stdin.write(b"one\n")
        pipe.stdin.flush()
        assert pipe.stdout.readline() == b"ONE\n"
        pipe.stdin.write(b"two\n")
        assert pipe.end() == (0, "TWO\n", "")


@pytest.mark.usefixtures("ending_sigpipe")
def test_a_pipe_to_an_ended_process_raises(gateway: Gateway) -> None:
    with gateway.pipe(python("import sys; sys.stdin.close(); sys.exit('full')")) as pipe:
        assert pipe.stdout.read() == b""  # the process has ended
        with pytest.raises(BrokenPipeError):
            pipe.stdin.write(b"x" * 100_000)
        assert pipe.end() == (1, "", "full\n")

    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL


def test_a_pipe_that_nobody_waits_for_is_killed(tmp_path: Path) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"

    with Gateway(tmp_path, echo=True).pipe(python(script)) as pipe:
        pid = int(pipe.stdout.readline())

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_pipe_to_a_missing_program_is_66(gateway: Gateway) -> None:
    with pytest.raises(NotFoundError), gateway.pipe(["no-such-program"]):
        pass


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGPIPE", -signal.SIGPIPE)],
)
def test_a_signal_ends_the_verb_with_128_plus_number(name: str, code: int, tmp_path: Path) -> None:
    argv = task(tmp_path, f"os.kill(os.getpid(), signal.{name})")
    done = subprocess.run(argv, cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.usefixtures("ending_sigpipe")
def test_a_program_that_does_not_read_stdin_does_not_end_the_verb(gateway: Gateway) -> None:
    assert gateway.ask(["true"], text="x" * 1_000_000).code == 0


def test_every_child_has_its_folder_in_pwd(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub, link, log = tmp_path / "sub", tmp_path / "link", tmp_path / "log"
    sub.mkdir()
    link.symlink_to(tmp_path)
    show = python(f"import os; print(os.environ['PWD'], file=open({str(log)!r}, 'w'))")

    def pwds() -> Iterator[str]:
        gateway.run(show)
        yield log.read_text()
        gateway.ask(show, cwd=sub)
        yield log.read_text()
        gateway.ask(show, env={"PWD": "/own"})
        yield log.read_text()
        with gateway.pipe(show) as pipe:
            pipe.end()
        yield log.read_text()

    monkeypatch.chdir(sub)
    monkeypatch.setenv("PWD", str(sub))
    assert [*pwds()] == [f"{tmp_path}\n", f"{sub}\n", "/own\n", f"{tmp_path}\n"]
    monkeypatch.setenv("PWD", str(link / "sub"))
    assert [*pwds()] == [f"{link}\n", f"{link}/sub\n", "/own\n", f"{link}\n"]


def test_a_question_is_asked_in_a_folder_with_variables(gateway: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()

    answer = gateway.ask(["sh", "-c", "pwd; echo $MORE"], cwd=folder, env={"MORE": "x"})

    assert answer.out == f"{folder}\nx\n"


def test_closed_streams_are_not_given_to_a_file(tmp_path: Path) -> None:
    body = """\
print(sys.stdin.isatty(), sys.stdin.read())
with Path('file').open('w') as file:
    assert file.fileno() > 2
    assert Gateway(Path.cwd()).run(['sh', '-c', 'cat; echo; echo >&2']) == 0
Path('done').touch()
"""
    command = f"exec {shlex.join(task(tmp_path, body))} <&- >&- 2>&-"
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=ENV, check=True)

    assert (tmp_path / "done").exists()


def test_a_folder_is_never_removed_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    with pytest.raises(OSError, match="data"):
        Gateway(tmp_path).remove(tmp_path / "data")

    assert (tmp_path / "data").exists()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_closes_the_connection_does_not_end_the_verb(scheme: str) -> None:
    code = (
        "import signal, sys; from pathlib import Path; from composed.gateway import Gateway; "
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); "
        "sys.exit(any(Gateway(Path()).fetch(sys.argv[1]) != (0, '') for _ in range(20)))"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_each() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=close_each, daemon=True).start()
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
        argv = [sys.executable, "-c", code, url]
        assert subprocess.run(argv, cwd=ROOT, check=False, timeout=60).returncode == 0
        server.shutdown(socket.SHUT_RDWR)
