"""Every verb that fails: exit code and message."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from composed.gateway import Answer
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import ROOT, Capsys, Inv, MonkeyPatch


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("up --timeout abc", "--timeout is 'abc'.\n  Valid: a whole number of seconds.\n"),
        ("up --build --no-build", "--build and --no-build exclude each other.\n"),
        ("migrate --name 2", "--name 2 needs its app.\n  Type: inv migrate --app APP --name 2\n"),
        ("manage", "No management command.\n  Type: inv manage -- help\n"),
        ("dc", "No Compose command.\n  Type: inv dc -- help\n"),
        *(
            (
                f"logs --tail={tail}",
                f"--tail is '{tail}'.\n  Valid: a whole number of lines, or all.\n",
            )
            for tail in ("x", "-3", "1.5")
        ),
    ],
)
def test_a_wrong_value_is_64(words: str, message: str, inv: Inv, recorder: Recorder) -> None:
    assert inv(*words.split()) == 64

    assert inv.err() == message
    assert recorder.ran == []


@pytest.mark.parametrize("verb", ["shell", "logs", "up"])
def test_an_unknown_service_is_66(verb: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("up").say(code=1)
    recorder.on("exec").say(code=1)

    assert inv(verb, "--service", "web") == 66

    assert inv.err() == "There is no service 'web'.\n  Services: backend, db.\n"


STOPPED = "backend is not running.\n  Type: inv up\n"
NO_ENGINE = Answer(1, "", "Cannot connect to the Docker daemon\n")
REFUSAL = 'level=warning\nfailed to read /x/.env: Invalid template: "hu${sh"'


@pytest.mark.parametrize(
    ("words", "answers", "code", "message"),
    [
        ("shell", {"exec": Answer(1, "", ""), "ps --services": Answer(0, "db\n", "")}, 66, STOPPED),
        ("open", {"ps --all": Answer(0, "", "")}, 66, STOPPED),
        (
            "up",
            {"up": Answer(17, "", ""), "ps --all": Answer(0, "", "")},
            75,
            "docker compose up ended with 17; the reason stands above.\n"
            "  All that is known about it: .composed/shop/failures/NOW\n",
        ),
        (
            "migrate",
            {"run": Answer(1, "", ""), "docker version": NO_ENGINE},
            69,
            "The Docker Engine does not answer: Cannot connect to the Docker daemon\n"
            "  Without it, on SQLite: COMPOSED_MODE=local inv up\n"
            "  Start it: sudo systemctl start docker (or Docker Desktop)\n",
        ),
        (
            "ps",
            {"ps --all": Answer(15, "", "services.db.image must be a string\n")},
            78,
            "docker compose ps failed: services.db.image must be a string\n"
            "  Correct the Compose file, then type the same command again.\n",
        ),
        (  # the value is not shown
            "ps",
            {"ps --all": Answer(1, "", REFUSAL), "docker version": Answer(0, "26.1\n", "")},
            78,
            "Compose refuses an env file.\n  See which line: inv env --check\n",
        ),
    ],
)
def test_a_failure_of_docker_is_explained(
    words: str, answers: dict[str, Answer], code: int, message: str, inv: Inv, recorder: Recorder
) -> None:
    for command, answer in answers.items():
        recorder.on(*command.split()).give(answer)

    assert inv(words) == code

    assert inv.err() == message


@pytest.mark.parametrize("verb", ["logs", "down", "build", "shell", "dc -- ps"])
def test_a_missing_docker_command_is_69(verb: str, inv: Inv, recorder: Recorder) -> None:
    recorder.on("docker").say(code=127)
    recorder.on("docker", "version").say(code=127, err="No such file or directory")

    assert inv(*verb.split()) == 69

    assert inv.err().startswith("There is no docker command here.\n")


@pytest.mark.parametrize("verb", ["up", "migrate", "shell"])
def test_a_folder_of_another_user_is_77(verb: str, inv: Inv, project: Project) -> None:
    (project.root / ".composed").touch()  # stands for a folder of root

    assert inv(verb) == 77

    assert "cannot be written: " in inv.err()


def test_a_failed_start_records_no_mode(inv: Inv, project: Project, recorder: Recorder) -> None:
    recorder.on("ps", "--all").say(code=1)
    recorder.on("docker", "version").say(code=1, err="no daemon")

    assert inv("up") == 69

    assert not (project.root / ".composed/shop/mode").exists()


def test_a_port_that_is_no_number_is_78(inv: Inv, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("BACKEND_PORT", "80a")

    assert inv("up") == 78

    assert inv.err() == ("BACKEND_PORT is '80a'.\n  Valid: a port from 1 to 65535, or 0 for any.\n")


def test_a_missing_env_file_is_78(inv: Inv, project: Project) -> None:
    (project.root / ".env").unlink()

    assert inv("ps") == 78

    assert inv.err() == f"There is no .env in {project.root}.\n  Type: inv up\n"


def test_createsuperuser_names_the_missing_variable(inv: Inv, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "ada")
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "ada@example.org")

    assert inv("createsuperuser") == 78

    assert inv.err() == (
        "Without a terminal, DJANGO_SUPERUSER_PASSWORD must be set.\n"
        "  Type: DJANGO_SUPERUSER_USERNAME=… DJANGO_SUPERUSER_EMAIL=… "
        "DJANGO_SUPERUSER_PASSWORD=… inv createsuperuser\n"
    )


def test_test_without_sessions_or_nox_is_66(
    inv: Inv, project: Project, recorder: Recorder, monkeypatch: MonkeyPatch
) -> None:
    assert inv("test") == 66
    (project.root / "noxfile.py").touch()
    monkeypatch.setattr("composed.verbs.checks.find_spec", lambda _: None)
    assert inv("test") == 66

    assert recorder.ran == []
    assert inv.err() == (
        f"There is no noxfile.py in {project.root}, so there are no sessions to run.\n"
        "  Write one: https://nox.thea.codes, or leave `test` out of tasks.py\n"
        f"{sys.executable} has no nox to run the sessions with.\n"
        "  Install it: pip install nox\n"
    )


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _huge(file: Path) -> None:
    os.truncate(file, 1 << 40)  # without a block of the disk


def _device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


@pytest.mark.parametrize("words", [["env"], ["up"], ["ps"], ["--dry", "up"], ["env", "--check"]])
@pytest.mark.parametrize(
    "spoil",
    [
        _folder,
        _loop,
        _pipe,
        _device,
        _huge,
        lambda file: file.write_text(f"A=x{' ' * 500_000}y\n"),  # minutes in python-dotenv
        lambda file: file.write_bytes(b"\xff\xfeA\0=\0"),
        lambda file: file.write_bytes(b"SECRET_KEY=a\0b\n"),
        lambda file: file.write_text('SECRET_KEY="hush\n'),
    ],
)
def test_an_unreadable_env_file_is_78_for_every_verb(
    spoil: Callable[[Path], object], words: list[str], inv: Inv, project: Project, capsys: Capsys
) -> None:
    spoil(project.root / ".env")

    assert inv(*words) == 78

    out, err = capsys.readouterr()
    assert ".env" in out + err
    assert "hush" not in out + err


def test_a_device_is_no_env_file_to_write(
    inv: Inv, project: Project, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_ENV_FILES", "/dev/null")

    assert (inv("env"), inv("ps")) == (77, 78)

    err = inv.err()
    assert "/dev/null cannot be written: it is a device, not a file." in err
    assert "Make it yours" not in err


def test_a_pipe_of_the_shell_is_no_env_file(inv: Inv, monkeypatch: MonkeyPatch) -> None:
    source, target = os.pipe()
    monkeypatch.setenv("COMPOSE_ENV_FILES", f"/dev/fd/{source}")  # as <(…) in bash

    codes = [inv(*words) for words in (["env"], ["ps"], ["env", "--check"])]
    os.close(source)
    os.close(target)

    assert codes == [78, 78, 78]
    assert inv.err().count("cannot be read: it is a pipe, not a file.\n") == 2


@pytest.mark.parametrize("name", ["compose.yaml", ".composed/shop/override.yml"])
def test_compose_is_not_asked_to_read_a_pipe(
    name: str, inv: Inv, project: Project, recorder: Recorder
) -> None:
    file = project.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(file)

    codes = [inv(*words) for words in (["up"], ["ps"], ["doctor"])]
    codes += [inv("env", "--check")] if name == "compose.yaml" else []

    assert codes == [78, 78, 75, 78][: len(codes)]
    asked = [line for line in recorder.lines("ask") if line.startswith("docker compose --")]
    assert not [line for line in asked if "--project-name check" not in line]  # without override
    out, err = inv.capsys.readouterr()
    assert (out + err).count(f"{file} cannot be read: it is a pipe, not a file.") == len(codes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize("words", [["env"], ["up"], ["ps"], ["env", "--check"]])
def test_an_own_file_without_rights_gets_them_back(
    words: list[str], inv: Inv, project: Project
) -> None:
    (project.root / ".env").chmod(0)

    assert inv(*words) in (77, 78)

    out, err = inv.capsys.readouterr()
    assert f"chmod u+rwX {project.root / '.env'}" in out + err


@pytest.mark.parametrize("text", [b"swarm", b"\xff", b"a\0", b"local\n"])
def test_a_mangled_record_of_the_mode_is_named(text: bytes, inv: Inv, project: Project) -> None:
    file = project.folder("shop") / "mode"
    file.parent.mkdir(parents=True)
    file.write_bytes(text)

    assert inv("ps") == 78

    err = inv.err()
    assert f"{file} does not record the mode of this stack: " in err
    assert f"Type: rm -r {file}\n  Then: inv up\n" in err


def test_an_error_of_the_system_has_no_traceback(inv: Inv, monkeypatch: MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/there")

    assert inv("env") == 0
    monkeypatch.setattr("composed.files.replace", full)
    monkeypatch.setattr("composed.files.make_folder", full)

    assert (inv("up"), inv("down")) == (74, 74)

    err = inv.err()
    assert "mode cannot be written: No space left on device." in err
    assert "lock cannot be written: No space left on device." in err


@pytest.mark.parametrize("verb", ["env", "ps"])  # a message, and an error in Invoke's hands
def test_a_closed_terminal_ends_the_verb_like_its_signal(verb: str, tmp_path: Path) -> None:
    text = "from composed.verbs import collect, env, ps\nnamespace = collect(__name__)\n"
    (tmp_path / "tasks.py").write_text(text)
    terminal, program = os.openpty()
    os.close(terminal)
    argv, path = [sys.executable, "-m", "invoke", verb], {"PYTHONPATH": str(ROOT)}

    ended = subprocess.run(
        argv, cwd=tmp_path, env=os.environ | path, stdout=program, stderr=program, check=False
    )
    os.close(program)

    assert ended.returncode == 129


@pytest.mark.parametrize("name", ["~nobody-is-called-so/x", "x" * 300])
def test_a_dump_with_an_impossible_path_is_66(name: str, inv: Inv) -> None:
    assert inv("db.restore", "--from", name) == 66

    assert "There is no file " in inv.err()


def test_a_refused_restore_names_the_command_that_agrees(inv: Inv, project: Project) -> None:
    file = project.root / "my dump"
    file.write_bytes(b"PGDMP")

    assert inv("db.restore", "--from", str(file), "--no-snapshot") == 77

    assert inv.err().endswith(f"inv db.restore --from '{file}' --no-snapshot --yes\n")


def test_an_unknown_service_leaves_no_mark(inv: Inv, recorder: Recorder, project: Project) -> None:
    recorder.on("up").say(code=1)
    recorder.on("docker", "version").say("26.1.5\n")

    assert inv("restart", "--service", "nosuch") == 66

    assert not (project.root / ".composed/shop/stopping").exists()


def test_local_mode_needs_no_engine(inv: Inv, recorder: Recorder, monkeypatch: MonkeyPatch) -> None:
    assert inv("up") == 0
    monkeypatch.setenv("COMPOSED_MODE", "local")
    recorder.on("docker", "version").say("26.1.5\n")
    assert inv("ps") == 78

    recorder.on("docker", "version").say(code=1, err="Cannot connect")

    assert inv("ps") == 0
