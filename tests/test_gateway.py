"""The gateway: what is shown, what is run, and who ends on which signal."""

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from composed import gateway, signals
from composed.errors import Interrupted, NotFoundError
from composed.gateway import Gateway
from tests.samples import Capsys, MonkeyPatch

# Says when it listens, so that nobody has to guess when a signal can be sent.
LISTENER = """
import os, signal, sys
signal.signal(signal.{name}, lambda *_: os._exit({code}))
os.kill({parent}, signal.SIGUSR1)
signal.pause()
"""


def listener(number: signal.Signals, code: int = 0) -> list[str]:
    script = LISTENER.format(name=number.name, code=code, parent=os.getpid())
    return [sys.executable, "-c", script]


@pytest.fixture
def when_it_listens() -> Iterator[Callable[[int], None]]:
    """Send ourselves a signal as soon as the child says that it listens."""
    before = signal.getsignal(signal.SIGUSR1)

    def send(number: int) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), number))

    yield send
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_the_childs_and_then_ours(
    number: signal.Signals,
    when_it_listens: Callable[[int], None],
    monkeypatch: MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(signals, "_in_foreground", lambda: False)
    when_it_listens(number)

    with pytest.raises(Interrupted) as caught:
        Gateway(tmp_path).run(listener(number), insist=True)

    assert caught.value.code == 128 + number


@pytest.mark.parametrize(
    ("number", "code", "ends"),
    [(signal.SIGINT, 0, 0), (signal.SIGINT, 7, 130), (signal.SIGTERM, 0, 143)],
)
def test_a_child_may_take_ctrl_c_and_end_well(
    number: signal.Signals,
    code: int,
    ends: int,
    when_it_listens: Callable[[int], None],
    monkeypatch: MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(signals, "_in_foreground", lambda: False)
    when_it_listens(number)

    with contextlib.ExitStack() as stack:
        if ends:
            caught = stack.enter_context(pytest.raises(Interrupted))
        assert Gateway(tmp_path).run(listener(number, code)) == 0

    assert not ends or caught.value.code == ends


def test_a_signal_reaches_the_plugin_that_docker_has_started(
    when_it_listens: Callable[[int], None], monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ntrap '' TERM\n{shlex.join(listener(signal.SIGTERM))}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    when_it_listens(signal.SIGTERM)

    with pytest.raises(Interrupted):
        Gateway(tmp_path).run(["docker", "compose"])


def test_what_is_left_out_may_come_in_two_parts(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    parts = [b"<<>a<", b"<>b", b"<<", b">", b"c<"]
    script = f"import os, time\nfor part in {parts}: os.write(1, part); time.sleep(0.02)"

    assert Gateway(tmp_path).run([sys.executable, "-c", script], without=b"<<>") == 0

    assert capfdbinary.readouterr().out == b"abc<"


def test_what_a_killed_inv_was_alone_with_keeps_the_others_waiting(tmp_path: Path) -> None:
    killed = (
        "import os; from pathlib import Path\n"
        "from composed.gateway import Gateway\n"
        "gateway = Gateway(Path('.'))\n"
        "with gateway.lock(Path('lock')):\n"
        "    gateway.run(['sh', '-c', f'kill -9 {os.getpid()}; echo; read x'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", killed],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parent.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        assert first.stdin
        assert first.stdout
        first.stdout.readline()
        first.wait()
        with (tmp_path / "lock").open() as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first.stdin.close()
            fcntl.flock(lock, fcntl.LOCK_EX)


def test_a_ctrl_c_that_the_child_did_not_get_is_passed_on(
    when_it_listens: Callable[[int], None], monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(signals, "_in_foreground", lambda: True)
    monkeypatch.setattr(signals, "SECONDS_BEFORE_PASSING_ON", 0.01)
    when_it_listens(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        Gateway(tmp_path).run(listener(signal.SIGINT), insist=True)

    assert caught.value.code == 130


def test_handlers_are_as_before_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    Gateway(tmp_path).run([sys.executable, "-c", ""])

    assert signal.getsignal(signal.SIGTERM) is before


def test_the_exit_code_is_the_childs(tmp_path: Path) -> None:
    assert Gateway(tmp_path).run([sys.executable, "-c", "raise SystemExit(42)"]) == 42


def test_a_child_starts_in_the_root_with_what_was_added(tmp_path: Path, capfd: Capsys) -> None:
    script = "import os; print(os.getcwd(), os.environ['ADDED'], 'PATH' in os.environ)"

    Gateway(tmp_path).run([sys.executable, "-c", script], env={"ADDED": "x"})

    assert capfd.readouterr().out == f"{tmp_path.resolve()} x True\n"


def test_echo_is_quoted_for_copy_and_paste(tmp_path: Path, capfd: Capsys) -> None:
    Gateway(tmp_path, echo=True).run(["true", "a b", "$x"])

    assert capfd.readouterr() == ("", "$ true 'a b' '$x'\n")


def test_a_dry_run_shows_and_does_not_run(tmp_path: Path, capfd: Capsys) -> None:
    assert Gateway(tmp_path, dry=True).run(["touch", "x"]) == 0

    assert capfd.readouterr().err == "$ touch x\n"
    assert not (tmp_path / "x").exists()


def test_a_question_keeps_all_three_answers(tmp_path: Path) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"

    assert Gateway(tmp_path).ask([sys.executable, "-c", script]) == (3, "out\n", "err\n")


def test_a_missing_program_answers_127(tmp_path: Path) -> None:
    assert Gateway(tmp_path).ask(["no-such-program"]).code == 127


def test_a_pipe_feeds_and_reads_piece_by_piece(tmp_path: Path) -> None:
    script = "import sys; [print(line.upper(), end='', flush=True) for line in sys.stdin]"

    with Gateway(tmp_path).pipe([sys.executable, "-c", script]) as pipe:
        pipe.stdin.write(b"one\n")
        pipe.stdin.flush()
        assert pipe.stdout.readline() == b"ONE\n"
        pipe.stdin.write(b"two\n")
        assert pipe.end() == (0, "TWO\n", "")


def test_a_pipe_to_what_reads_no_more_is_an_error_of_ours(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    script = "import sys; sys.stdin.close(); sys.exit('full')"
    try:
        with Gateway(tmp_path).pipe([sys.executable, "-c", script]) as pipe:
            assert pipe.stdout.read() == b""  # it has ended
            with pytest.raises(BrokenPipeError):
                pipe.stdin.write(b"x" * 100_000)
            assert pipe.end() == (1, "", "full\n")
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_what_was_not_waited_for_is_killed(tmp_path: Path) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"

    with Gateway(tmp_path, echo=True).pipe([sys.executable, "-c", script]) as pipe:
        pid = int(pipe.stdout.readline())

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_pipe_to_a_missing_program_is_66(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError), Gateway(tmp_path).pipe(["no-such-program"]):
        pass


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)", 130),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("os.kill(os.getpid(), signal.SIGHUP)", 129),
        ("os.kill(os.getpid(), signal.SIGPIPE)", -signal.SIGPIPE),
    ],
)
def test_a_verb_ends_as_shells_count(script: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "import os, signal\n"
        "from invoke import task\n"
        "from composed.signals import handle_signals\n"
        "@task\n"
        "def verb(c):\n"
        "    handle_signals()\n"
        f"    {script}\n"
    )
    root = Path(gateway.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "verb"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (code, "")


def test_a_program_that_reads_nothing_of_what_it_is_fed_does_not_end_us(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in a verb
    try:
        answer = Gateway(tmp_path).ask(["true"], text="x" * 1_000_000)
    finally:
        signal.signal(signal.SIGPIPE, before)

    assert answer.code == 0


def test_a_question_is_asked_in_its_folder_and_environment(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()

    answer = Gateway(tmp_path).ask(["sh", "-c", "pwd; echo $MORE"], cwd=folder, env={"MORE": "x"})

    assert answer.out == f"{folder}\nx\n"


def test_closed_streams_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from invoke import task\n"
        "from composed.gateway import Gateway\n"
        "from composed.signals import handle_signals\n"
        "@task\n"
        "def verb(c):\n"
        "    handle_signals()\n"
        "    print(sys.stdin.isatty(), sys.stdin.read())\n"
        "    with Path('file').open('w') as file:\n"
        "        assert file.fileno() > 2\n"
        "        assert Gateway(Path.cwd()).run(['sh', '-c', 'cat; echo; echo >&2']) == 0\n"
        "    Path('done').touch()\n"
    )
    root = Path(gateway.__file__).parent.parent
    subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m invoke verb <&- >&- 2>&-"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
    )

    assert (tmp_path / "done").exists()
