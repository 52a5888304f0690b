"""The bootstrap `inv`: when `.venv` is made, updated or left alone, and the messages."""

import ast
import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import invoke
import pytest

from composed.gateway import Gateway
from tests.samples import Capsys, MonkeyPatch
from tests.stacks.waiting import wait_until

SOURCE = Path(__file__).parent.parent / "inv"
PYENV = Path("~/.pyenv/versions").expanduser()
Module = types.ModuleType
BASE = getattr(sys, "_base_executable", "")  # the Python below the environment of these tests

# Stands for uv: logs each call, makes the files that the bootstrap reads.
UV = f"""#!/bin/sh
[ "$1" = --version ] && exit
echo "$*" >> uv.log
case $1 in
venv) mkdir -p .venv/bin; touch .venv/pyvenv.cfg; ln -sf {sys.executable} .venv/bin/python ;;
pip) HOOK
  touch .venv/bin/inv ;;
esac
"""

# Stands for the program: prints the words, the folder and environment.
PROGRAM = """
import json, os, sys
json.dump({"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}, sys.stdout)
"""


@dataclass
class Checkout:
    """A copy of the bootstrap beside a lock, with a uv that needs no network."""

    root: Path
    path: str

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def program(self) -> str:
        return str(self.root / "composed/__main__.py")

    def uv(self, hook: str = "") -> None:
        """Put uv on the path; the hook is shell code to run before the installation."""
        file = self.root.parent / "bin/uv"
        file.write_text(UV.replace("HOOK", hook))
        file.chmod(0o755)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        env = {"PATH": self.path, "HOME": str(self.root), **options.pop("env", {})}
        command = options.pop("command", [sys.executable, "-S", str(self.root / "inv")])
        return subprocess.Popen(
            [*command, *words],
            cwd=options.pop("cwd", self.root),
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, **options: Any) -> tuple[int, str, str]:
        process = self.start(*words, **options)
        out, err = process.communicate()
        return process.returncode, out, err

    def ok(self, *words: str, **options: Any) -> Any:
        """Run to a good end; return the words, folder and environment of Invoke."""
        code, out, err = self.run(*words, **options)
        assert code == 0, err
        return json.loads(out)

    def start_waiting(self) -> subprocess.Popen[str]:
        """Start a call that waits for another."""
        process = self.start()
        assert process.stderr
        assert process.stderr.readline() == "Waiting for another inv, which makes .venv …\n"
        return process

    def uv_calls(self) -> list[str]:
        """Return the subcommands of the calls of uv, and empty the log."""
        log = self.root / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "Größe & mehr"
    (root / "locks").mkdir(parents=True)
    (root / "locks/inv.txt").write_text("invoke==3.0.3\n")
    (root / "composed").mkdir()
    (root / "composed/__main__.py").write_text(PROGRAM)
    shutil.copy(SOURCE, root)
    (tmp_path / "bin").mkdir()
    checkout = Checkout(root, f"{tmp_path / 'bin'}:/usr/bin:/bin")
    checkout.uv()
    return checkout


@pytest.fixture
def made(checkout: Checkout) -> Checkout:
    checkout.ok()
    assert checkout.uv_calls() == ["venv", "pip"]
    return checkout


@pytest.fixture
def module(checkout: Checkout) -> types.ModuleType:
    """The bootstrap as a module, for conditions that no test can make from outside."""
    module = types.ModuleType("bootstrap")
    module.__file__ = str(checkout.root / "inv")
    exec(SOURCE.read_text(), module.__dict__)
    return module


def test_the_first_call_makes_the_environment_and_the_next_runs_invoke(checkout: Checkout) -> None:
    code, out, err = checkout.run("up", "--build", "--", "a b", "$x")

    venv = checkout.venv
    words = [f"--search-root={checkout.root}", "up", "--build", "--", "a b", "$x"]
    assert (code, err) == (0, "Making .venv from locks/inv.txt (once) …\n")
    assert json.loads(out)["argv"] == [checkout.program, *words]
    assert (checkout.root / "uv.log").read_text().splitlines() == [
        f"venv --quiet --allow-existing --python {BASE} {venv}",
        f"pip install --python {venv}/bin/python --quiet --require-hashes"
        f" -r {checkout.root}/locks/inv.txt",
    ]

    checkout.uv_calls()
    code, _out, err = checkout.run("ps")
    assert (code, err, checkout.uv_calls()) == (0, "", [])


@pytest.mark.parametrize(
    ("words", "added"),
    [
        ((), True),
        (("--list",), True),
        (("-e", "dbshell", "-c", "select 1"), True),
        (("-r", "/elsewhere", "up"), False),
        (("-e", "--search-root=/elsewhere", "up"), False),
        (("-c", "other", "x"), False),
        (("--collection=other", "x"), False),
    ],
)
def test_invoke_gets_the_search_root_unless_the_words_name_a_root(
    made: Checkout, words: tuple[str, ...], added: bool
) -> None:
    argv = made.ok(*words)["argv"][1:]

    assert argv == [*([f"--search-root={made.root}"] if added else []), *words]


def test_inv_works_from_any_folder_and_through_a_link(made: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "bin/inv"
    link.symlink_to(made.root / "inv")

    call = made.ok("up", command=[sys.executable, str(link)], cwd=tmp_path)

    assert call["argv"][1] == f"--search-root={made.root}"
    assert call["cwd"] == str(tmp_path)


def test_variables_for_another_python_are_removed(made: Checkout) -> None:
    foreign = {"PYTHONPATH": str(made.root), "VIRTUAL_ENV": "/elsewhere", "COMPOSED_MODE": "local"}

    call = made.ok(env=foreign)

    assert call["argv"][0] == made.program
    assert "PYTHONPATH" not in call["env"]
    assert call["env"]["COMPOSED_MODE"] == "local"


def test_a_changed_lock_is_installed_and_nothing_is_removed(made: Checkout) -> None:
    (made.venv / "mine").touch()
    (made.root / "locks/inv.txt").write_text("invoke==3.0.4\n")

    code, _out, err = made.run()

    assert (code, err) == (0, "Updating .venv from locks/inv.txt …\n")
    assert made.uv_calls() == ["pip"]
    assert (made.venv / "mine").exists()


def test_a_lock_that_changes_during_the_installation_is_installed_next(checkout: Checkout) -> None:
    checkout.uv(hook="echo invoke==3.0.4 > locks/inv.txt")
    checkout.ok()
    checkout.uv_calls()

    checkout.ok()

    assert checkout.uv_calls() == ["pip"]


def test_a_moved_environment_is_made_again(made: Checkout) -> None:
    (made.venv / "old").touch()
    made.root = made.root.rename(made.root.with_name("moved"))

    assert made.ok()["argv"][0] == made.program
    assert made.uv_calls() == ["venv", "pip"]
    assert not (made.venv / "old").exists()


@pytest.mark.parametrize("stamped", [True, False])
def test_an_environment_without_python_is_made_again(made: Checkout, stamped: bool) -> None:
    (made.venv / "bin/python").unlink()
    (made.venv / "bin/python").symlink_to("/nowhere/python")
    stamp = made.venv / ".made-by-inv"
    text = stamp.read_text().replace(os.path.realpath(sys.executable), "/nowhere/python")
    stamp.unlink()
    if stamped:
        stamp.write_text(text)

    made.ok()

    assert made.uv_calls() == ["venv", "pip"]


def test_an_environment_with_another_python_is_made_again(made: Checkout, tmp_path: Path) -> None:
    """A new release of the system replaces `/usr/bin/python3`."""
    other = tmp_path / "other"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    (made.venv / "bin/python").unlink()
    (made.venv / "bin/python").symlink_to(other)

    made.ok()

    assert made.uv_calls() == ["venv", "pip"]


def test_an_environment_made_by_hand_is_completed_and_kept(made: Checkout) -> None:
    (made.venv / ".made-by-inv").unlink()
    (made.venv / "mine").touch()

    made.ok()
    assert made.uv_calls() == ["pip"]
    made.ok()
    assert made.uv_calls() == []
    assert (made.venv / "mine").exists()


@pytest.mark.parametrize("broken", ["an old Python", "no Python"])
def test_an_unusable_environment_made_by_hand_stays(checkout: Checkout, broken: str) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    if broken == "an old Python":
        (checkout.venv / "bin/python").symlink_to("/bin/false")

    code, _out, err = checkout.run("up")

    assert code == 73
    assert err.startswith(".venv cannot be used: its Python is older than 3.11, broken or")
    assert f"  Type: mv '{checkout.venv}' '{checkout.venv}.old' && " in err
    assert checkout.uv_calls() == []
    assert (checkout.venv / "bin").exists()


def test_an_empty_folder_is_no_obstacle(checkout: Checkout) -> None:
    checkout.venv.mkdir()

    checkout.ok()


@pytest.mark.parametrize("half", ["made", "updated"])
def test_an_environment_of_a_killed_call_is_made_again(checkout: Checkout, half: str) -> None:
    if half == "updated":
        checkout.ok()
        (checkout.root / "locks/inv.txt").write_text("invoke==3.0.4\n")
    checkout.uv(hook="touch .venv/half; kill -9 $PPID")
    assert checkout.run()[0] == -9
    assert (checkout.venv / "half").exists()
    checkout.uv_calls()

    checkout.uv()
    checkout.ok()

    assert checkout.uv_calls() == ["venv", "pip"]
    assert not (checkout.venv / "half").exists()


@pytest.mark.parametrize("name", [".venv", ".venv/.made-by-inv", "locks/inv.txt"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path), Path.mkdir])
def test_a_thing_in_place_of_a_file_is_named_and_stays(
    name: str, make: Callable[[Path], object], made: Checkout
) -> None:
    path = made.root / name
    path.rename(made.root / "away")
    make(path)
    before = path.lstat()

    code, _, err = made.run("ps")

    if (name, make) == (".venv", Path.mkdir):  # an empty folder is no obstacle
        assert code == 0
    else:
        assert code == 73
        assert err.splitlines()[-2].startswith(f"Cannot make {made.venv}: ")
        assert f"{path} is no file" in err or name == ".venv"
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_ctrl_c_ends_with_130_and_the_next_call_succeeds(checkout: Checkout) -> None:
    checkout.uv(hook="kill -INT $PPID; exit 1")
    assert checkout.run() == (130, "", "Making .venv from locks/inv.txt (once) …\n")

    checkout.uv()
    checkout.ok()


NETWORK = "With a network, or HTTPS_PROXY set to its proxy"
COPY = "Type: cp -R '{root}' ~/'{name}' && ~/'{name}'/inv up 'a b'"
FULL, READ_ONLY = os.strerror(errno.ENOSPC), os.strerror(errno.EROFS)


@pytest.mark.parametrize(
    ("words", "code", "problem", "hint"),
    [
        ("dns error", 69, "uv pip install ended with 2", f"{NETWORK}, type: {{retry}}"),
        (f"{FULL} (os error 28)", 73, FULL, "Once that is solved, type: {retry}"),
        (f"{READ_ONLY} (os error 30)", 77, READ_ONLY, COPY),
    ],
)
def test_a_failure_shows_the_last_lines_of_the_tool_and_the_command_to_type(
    checkout: Checkout, words: str, code: int, problem: str, hint: str
) -> None:
    checkout.uv(hook=f"seq 9; echo '{words}' >&2; exit 2")

    ended, out, err = checkout.run("up", "a b")

    root = checkout.root
    hint = hint.format(root=root, name=root.name, retry=f"'{root}/inv' up 'a b'")
    assert (ended, out) == (code, "")
    first, *last_lines, message, hint_shown = err.splitlines()
    assert first.startswith("Making")
    assert last_lines == ["6", "7", "8", "9", words]
    assert (message, hint_shown) == (f"Cannot make {checkout.venv}: {problem}", f"  {hint}")

    checkout.uv()
    checkout.ok()


def test_after_a_failed_update_the_old_lock_works_without_a_network(made: Checkout) -> None:
    lock = made.root / "locks/inv.txt"
    before = lock.read_text()
    lock.write_text("invoke==3.0.4\n")
    made.uv(hook="echo dns error; exit 2")
    assert made.run()[0] == 69
    made.uv_calls()

    lock.write_text(before)
    made.ok()

    assert made.uv_calls() == []


def test_a_tool_that_installs_into_another_folder_is_a_failure(checkout: Checkout) -> None:
    checkout.uv(hook="exit 0")

    code, _, err = checkout.run()

    assert (code, f"{checkout.venv}/bin/inv was not installed\n" in err) == (73, True)


def test_the_second_of_two_first_calls_waits_for_the_first(checkout: Checkout) -> None:
    gate = checkout.root / "gate"
    os.mkfifo(gate)
    checkout.uv(hook="read _ < gate")
    first = checkout.start()
    with gate.open("w") as opened:  # as soon as uv reads there
        second = checkout.start_waiting()
        opened.write("\n")

    for process in (first, second):
        argv = json.loads(process.communicate()[0])["argv"]
        assert argv[1:] == [f"--search-root={checkout.root}"]
    assert checkout.uv_calls() == ["venv", "pip"]


def test_the_call_after_a_killed_call_waits_for_the_tool(checkout: Checkout) -> None:
    gate = checkout.root / "gate"
    os.mkfifo(gate)
    checkout.uv(hook="read _ < gate; exit 1")
    first = checkout.start()
    with gate.open("w") as opened:
        first.kill()
        first.wait()
        checkout.uv()
        second = checkout.start_waiting()
        opened.write("\n")
    first.communicate()
    second.communicate()

    assert second.returncode == 0


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_checkout_is_to_be_copied(
    module: Module, number: int, monkeypatch: MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setattr(module.os, "access", lambda *_: False)

    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "make", refuse)
    with pytest.raises(SystemExit) as ended:
        module.main()

    assert ended.value.code == 77
    problem = f"Cannot make {module.VENV}: {os.strerror(number)}"
    assert f"{problem}\n  Type: cp" in capsys.readouterr().err


def test_a_full_disk_that_venv_hides_is_reported(module: Module, monkeypatch: MonkeyPatch) -> None:
    """`python -m venv` prints no reason when ensurepip fails."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=4096))

    with pytest.raises(OSError, match=FULL):
        module.raise_if_full_or_read_only("Command returned non-zero exit status 1.")


@pytest.mark.parametrize("uv", [None, "/bin/false"], ids=["no uv", "a shim that fails"])
def test_venv_and_pip_replace_uv(module: Module, uv: str | None, monkeypatch: MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "run", lambda *command: commands.append(command))
    monkeypatch.setattr(shutil, "which", lambda _: uv)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(module, "INV", module.LOCK)  # an existing file

    module.install_or_update()

    pip = (module.PYTHON, "-m", "pip", "install", "--no-user")
    hashes = ("--quiet", "--require-hashes", "-r", module.LOCK)
    assert commands == [(BASE, "-m", "venv", module.VENV), (*pip, *hashes)]


def test_without_ensurepip_virtualenv_is_used(module: Module, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

    command = ["/bin/virtualenv", "--quiet", "--python", BASE, module.VENV]
    assert module.venv_command(None) == command


def test_the_apt_package_is_named(module: Module, monkeypatch: MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["./inv", "up"])

    with pytest.raises(SystemExit) as ended:
        module.install_or_update()

    version = ".".join(map(str, sys.version_info[:2]))
    assert ended.value.code == 69
    hint = f"  Type: sudo apt install python{version}-venv && ./inv up\n"
    assert capsys.readouterr().err.endswith(hint)
    assert not Path(module.VENV).exists()


def test_on_windows_wsl2_is_named(module: Module, monkeypatch: MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setattr(module, "os", types.SimpleNamespace(name="nt"))

    with pytest.raises(SystemExit) as ended:
        module.main()

    text = "Composed does not run on Windows itself, but in WSL2; type: wsl --install\n"
    assert (ended.value.code, capsys.readouterr().err) == (69, text)


def test_python_3_6_can_parse_the_file() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))


def old_python(version: str) -> str:
    python = next(PYENV.glob(f"{version}.*/bin/python"), None)
    return str(python) if python else pytest.skip(f"no Python {version} here")


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10"])
def test_an_old_python_gets_a_single_line(checkout: Checkout, version: str) -> None:
    python = old_python(version)

    code, out, err = checkout.run("up", command=[python, "./inv"])

    assert (code, out) == (69, "")
    assert err.startswith(f"Composed needs Python 3.11, {python} is {version}.")
    assert err.endswith("; install that or a newer one and type: python3.11 ./inv up\n")
    assert err.count("\n") == 1
    assert not checkout.venv.exists()


def test_an_old_python_can_start_a_whole_environment(made: Checkout) -> None:
    command = [old_python("3.[6-9]"), "./inv"]

    assert made.ok("up", command=command)["argv"][2:] == ["up"]


# Invoke itself, in the `.venv` that the stand-in for uv made.
SITES = [str(Path(invoke.__file__).parent.parent), str(SOURCE.parent)]
REAL_PROGRAM = f"import sys; sys.path[:1] = {SITES!r}; from composed.program import main; main()"
TAB = """
source <(./inv --print-completion-script bash)
COMP_WORDS=(%s); _complete_invoke "" "${COMP_WORDS[-1]}"; echo "${COMPREPLY[*]}"
"""


@pytest.mark.parametrize("program", ["./inv", "../link/inv", "inv"])
@pytest.mark.parametrize(
    ("words", "completed"), [("gr", "greet grumble"), ("greet --n", "--name"), ("greet --x", "")]
)
def test_bash_completes_verbs_and_options_of_the_typed_program(
    program: str, words: str, completed: str, made: Checkout
) -> None:
    inv = made.venv / "bin/inv"
    inv.chmod(0o755)
    Path(made.program).write_text(REAL_PROGRAM)
    tasks = "@task\ndef greet(c, name=''): pass\n@task\ndef grumble(c): pass\n"
    (made.root / "tasks.py").write_text(f"from invoke import task\n{tasks}")
    (made.root.parent / "link").symlink_to(made.root)

    env = {"PATH": f"{made.path}:{inv.parent}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = made.start(command=["bash", "-c", TAB % f"{program} {words}"], env=env)

    assert done.communicate() == (f"{completed}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_no_program_that_may_be_missing(shell: str, made: Checkout) -> None:
    Path(made.program).write_text(REAL_PROGRAM)

    code, out, err = made.run("--print-completion-script", shell)

    (line,) = (line for line in out.splitlines() if "--complete " in line and "#" not in line)
    assert (code, err, "invoke" in line) == (0, "", False)
    assert "inv" in out.rpartition("complete")[2] or shell == "zsh"


def test_tab_installs_nothing(checkout: Checkout) -> None:
    assert checkout.run("--complete", "--", "./inv", "up") == (0, "", "")
    assert not checkout.venv.exists()


def test_every_call_imports_cheap_modules_alone() -> None:
    tree = ast.parse(SOURCE.read_text())
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]

    modules = [f"import {name}" for name in ("_signal", "errno", "os", "sys")]
    assert [ast.unparse(node) for node in imports] == modules


def is_alive(pid: int) -> bool:
    return any(process.pid == pid for process in Gateway(Path()).processes())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_installation_ends_the_tool_too(
    number: signal.Signals, checkout: Checkout
) -> None:
    gate = checkout.root / "gate"
    os.mkfifo(gate)
    checkout.uv(hook="echo $$ > gate; exec sleep 600")
    first = checkout.start()
    tool = int(gate.read_text())
    first.send_signal(number)

    assert first.communicate() == ("", "Making .venv from locks/inv.txt (once) …\n")
    assert first.returncode == 128 + number
    wait_until(lambda: not is_alive(tool), "the end of the tool")
    checkout.uv()
    checkout.ok()


def test_a_signal_waits_for_the_program(made: Checkout) -> None:
    Path(made.program).write_text("import signal; print(signal.pthread_sigmask(0, [])); ")
    assert made.run()[1] == str({signal.SIGHUP, signal.SIGINT, signal.SIGTERM}) + "\n"


def test_a_shell_runs_the_file_with_python(made: Checkout) -> None:
    python = made.root.parent / "bin/python3"
    python.symlink_to(sys.executable)

    argv = made.ok("up", "a b", "$x", command=["./inv"])["argv"]

    assert argv[2:] == ["up", "a b", "$x"]


def test_inv_in_an_activated_environment_is_the_same_program(made: Checkout) -> None:
    (made.venv / "bin/inv").chmod(0o755)

    assert made.ok("ps", command=[str(made.venv / "bin/inv")])["argv"] == [made.program, "ps"]


@pytest.mark.parametrize("refused", ["the environment", "the lock"])
def test_files_of_root_are_to_be_given_back(
    refused: str, module: Module, monkeypatch: MonkeyPatch, capsys: Capsys
) -> None:
    """An earlier `sudo ./inv` made them; this folder itself is the user's."""
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), refused)
    monkeypatch.setattr(module, "make", lambda: module.stop_for(error))
    monkeypatch.setattr(sys, "argv", ["./inv", "up"])
    Path(module.VENV).mkdir()

    with pytest.raises(SystemExit) as ended:
        module.main()

    files = f"'{module.VENV}' '{module.LOCK}'"
    owner = f"{os.getuid()}:{os.getgid()}"
    assert ended.value.code == 77
    assert capsys.readouterr().err == (
        f"Cannot make {module.VENV}: Permission denied\n"
        f"  Make it yours: sudo chown -R {owner} {files} && ./inv up\n"
    )


def test_a_colon_in_the_folder_is_named(checkout: Checkout) -> None:
    root = checkout.root = checkout.root.rename(checkout.root.with_name("a:b c"))

    assert checkout.run("up") == (
        73,
        "",
        "Making .venv from locks/inv.txt (once) …\n"
        f"{root} has a colon, which separates folders in PATH and in Compose files\n"
        f"  Rename the folder: mv '{root}' '{root.parent}/a-b c'\n",
    )
    assert not checkout.venv.exists()
