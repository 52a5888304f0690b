"""The bootstrap `inv`: when it makes `.venv`, when it leaves it alone, and what it says."""

from __future__ import annotations

import ast
import errno
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import invoke
import pytest

SOURCE = Path(__file__).parent.parent / "inv"
PYENV = Path("~/.pyenv/versions").expanduser()
BASE = getattr(sys, "_base_executable", "")  # which the environment of these tests was made with

# Stands for uv: notes what it is asked, makes what the bootstrap looks at.
UV = f"""#!/bin/sh
[ "$1" = --version ] && exit
echo "$*" >> uv.log
case $1 in
venv) mkdir -p .venv/bin; touch .venv/pyvenv.cfg; ln -sf {sys.executable} .venv/bin/python ;;
pip) HOOK
  cp invoke.py .venv/bin/inv ;;
esac
"""

# Stands for Invoke: says what it was given.
INVOKE = """
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

    def uv(self, hook: str = "") -> None:
        """Put uv on the path; the hook is what it does before it installs."""
        file = self.root.parent / "bin/uv"
        file.write_text(UV.replace("HOOK", hook))
        file.chmod(0o755)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        env = {"PATH": self.path, "HOME": str(self.root), **options.pop("env", {})}
        command = options.pop("command", [sys.executable, str(self.root / "inv")])
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
        """Return what Invoke was given."""
        code, out, err = self.run(*words, **options)
        assert code == 0, err
        return json.loads(out)

    def asked(self) -> list[str]:
        """Return and forget what uv was asked to do."""
        log = self.root / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "Größe & mehr"
    (root / "locks").mkdir(parents=True)
    (root / "locks/inv.txt").write_text("invoke==3.0.3\n")
    (root / "invoke.py").write_text(INVOKE)
    shutil.copy(SOURCE, root)
    (tmp_path / "bin").mkdir()
    it = Checkout(root, f"{tmp_path / 'bin'}:/usr/bin:/bin")
    it.uv()
    return it


@pytest.fixture
def made(checkout: Checkout) -> Checkout:
    checkout.ok()
    assert checkout.asked() == ["venv", "pip"]
    return checkout


@pytest.fixture
def module(checkout: Checkout) -> types.ModuleType:
    """The bootstrap as a module, for what cannot be brought about from outside."""
    loader = importlib.machinery.SourceFileLoader("bootstrap", str(checkout.root / "inv"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_first_call_makes_it_and_the_next_goes_straight_through(checkout: Checkout) -> None:
    code, out, err = checkout.run("up", "--build", "--", "a b", "$x")

    venv = checkout.venv
    words = [f"--search-root={checkout.root}", "up", "--build", "--", "a b", "$x"]
    assert (code, err) == (0, "Making .venv from locks/inv.txt (once) …\n")
    assert json.loads(out)["argv"] == [str(venv / "bin/inv"), *words]
    assert (checkout.root / "uv.log").read_text().splitlines() == [
        f"venv --quiet --allow-existing --python {BASE} {venv}",
        f"pip install --python {venv}/bin/python --quiet --require-hashes"
        f" -r {checkout.root}/locks/inv.txt",
    ]

    checkout.asked()
    code, _out, err = checkout.run("ps")
    assert (code, err, checkout.asked()) == (0, "", [])


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
def test_invoke_is_told_where_the_project_is_unless_it_is_said(
    made: Checkout, words: tuple[str, ...], added: bool
) -> None:
    argv = made.ok(*words)["argv"][1:]

    assert argv == [*([f"--search-root={made.root}"] if added else []), *words]


def test_it_works_from_any_folder_and_through_a_link(made: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "bin/inv"
    link.symlink_to(made.root / "inv")

    given = made.ok("up", command=[sys.executable, str(link)], cwd=tmp_path)

    assert given["argv"][1] == f"--search-root={made.root}"
    assert given["cwd"] == str(tmp_path)


def test_what_is_meant_for_another_python_is_taken_away(made: Checkout) -> None:
    foreign = {"PYTHONPATH": str(made.root), "VIRTUAL_ENV": "/elsewhere", "COMPOSED_MODE": "local"}

    given = made.ok(env=foreign)

    assert given["argv"][0] == str(made.venv / "bin/inv")
    assert "PYTHONPATH" not in given["env"]
    assert given["env"]["COMPOSED_MODE"] == "local"


def test_a_changed_lock_is_installed_and_nothing_else_removed(made: Checkout) -> None:
    (made.venv / "mine").touch()
    (made.root / "locks/inv.txt").write_text("invoke==3.0.4\n")

    code, _out, err = made.run()

    assert (code, err) == (0, "Updating .venv from locks/inv.txt …\n")
    assert made.asked() == ["pip"]
    assert (made.venv / "mine").exists()


def test_a_lock_that_changes_meanwhile_is_installed_by_the_next_call(checkout: Checkout) -> None:
    checkout.uv(hook="echo invoke==3.0.4 > locks/inv.txt")
    checkout.ok()
    checkout.asked()

    checkout.ok()

    assert checkout.asked() == ["pip"]


def test_a_moved_one_is_made_anew(made: Checkout) -> None:
    (made.venv / "old").touch()
    made.root = made.root.rename(made.root.with_name("moved"))

    assert made.ok()["argv"][0] == str(made.venv / "bin/inv")
    assert made.asked() == ["venv", "pip"]
    assert not (made.venv / "old").exists()


@pytest.mark.parametrize("ours", [True, False])
def test_one_whose_python_is_gone_is_made_anew(made: Checkout, ours: bool) -> None:
    (made.venv / "bin/python").unlink()
    (made.venv / "bin/python").symlink_to("/nowhere/python")
    stamp = made.venv / ".made-by-inv"
    if ours:
        stamp.write_text(
            stamp.read_text().replace(os.path.realpath(sys.executable), "/nowhere/python")
        )
    else:
        stamp.unlink()

    made.ok()

    assert made.asked() == ["venv", "pip"]


def test_one_whose_python_became_another_is_made_anew(made: Checkout, tmp_path: Path) -> None:
    """As by a new release of the system: `/usr/bin/python3` is another one now."""
    other = tmp_path / "other"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    (made.venv / "bin/python").unlink()
    (made.venv / "bin/python").symlink_to(other)

    made.ok()

    assert made.asked() == ["venv", "pip"]


def test_one_made_by_hand_is_completed_and_kept(made: Checkout) -> None:
    (made.venv / ".made-by-inv").unlink()
    (made.venv / "mine").touch()

    made.ok()
    assert made.asked() == ["pip"]
    made.ok()
    assert made.asked() == []
    assert (made.venv / "mine").exists()


@pytest.mark.parametrize("broken", ["an old Python", "no Python"])
def test_one_made_by_hand_that_cannot_be_used_stays(checkout: Checkout, broken: str) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    if broken == "an old Python":
        (checkout.venv / "bin/python").symlink_to("/bin/false")

    code, _out, err = checkout.run("up")

    assert code == 73
    assert err.startswith(".venv cannot be used: its Python is older than 3.11, broken or")
    assert f"  Type: mv '{checkout.venv}' '{checkout.venv}.old' && " in err
    assert checkout.asked() == []
    assert (checkout.venv / "bin").exists()


def test_an_empty_folder_is_no_obstacle(checkout: Checkout) -> None:
    checkout.venv.mkdir()

    checkout.ok()


def test_the_next_call_makes_anew_what_a_killed_one_left(checkout: Checkout) -> None:
    checkout.uv(hook="touch .venv/half; kill -9 $PPID")
    assert checkout.run()[0] == -9
    assert (checkout.venv / "half").exists()
    checkout.asked()

    checkout.uv()
    checkout.ok()

    assert checkout.asked() == ["venv", "pip"]
    assert not (checkout.venv / "half").exists()


def test_the_next_call_makes_anew_what_a_killed_update_left(made: Checkout) -> None:
    (made.root / "locks/inv.txt").write_text("invoke==3.0.4\n")
    made.uv(hook="kill -9 $PPID")
    made.run()
    made.asked()

    made.uv()
    made.ok()

    assert made.asked() == ["venv", "pip"]


def test_ctrl_c_ends_with_130_and_the_next_call_mends(checkout: Checkout) -> None:
    checkout.uv(hook="kill -INT $PPID; exit 1")
    assert checkout.run() == (130, "", "Making .venv from locks/inv.txt (once) …\n")

    checkout.uv()
    checkout.ok()


@pytest.mark.parametrize(
    ("words", "code", "problem", "hint"),
    [
        (
            "dns error",
            69,
            "uv pip install ended with 2",
            "With a network, or HTTPS_PROXY set to its proxy, type: {again}",
        ),
        (
            "No space left on device (os error 28)",
            73,
            "No space left on device",
            "Once that is mended, type: {again}",
        ),
        (
            "Read-only file system (os error 30)",
            77,
            "Read-only file system",
            "Type: cp -R '{root}' ~/'{name}' && ~/'{name}'/inv up 'a b'",
        ),
    ],
)
def test_a_failure_shows_the_tools_last_words_and_what_to_type(
    checkout: Checkout, words: str, code: int, problem: str, hint: str
) -> None:
    checkout.uv(hook=f"seq 9; echo '{words}' >&2; exit 2")

    ended, out, err = checkout.run("up", "a b")

    root = checkout.root
    hint = hint.format(root=root, name=root.name, again=f"'{root}/inv' up 'a b'")
    assert (ended, out) == (code, "")
    first, *last_words, said, hinted = err.splitlines()
    assert first.startswith("Making")
    assert last_words == ["6", "7", "8", "9", words]
    assert (said, hinted) == (f"Cannot make {checkout.venv}: {problem}", f"  {hint}")

    checkout.uv()
    checkout.ok()


def test_without_a_network_the_way_back_to_the_old_lock_is_open(made: Checkout) -> None:
    lock = made.root / "locks/inv.txt"
    before = lock.read_text()
    lock.write_text("invoke==3.0.4\n")
    made.uv(hook="echo dns error; exit 2")
    assert made.run()[0] == 69
    made.asked()

    lock.write_text(before)
    made.ok()

    assert made.asked() == []


def test_a_tool_that_installs_elsewhere_is_not_believed(checkout: Checkout) -> None:
    checkout.uv(hook="exit 0")

    code, _out, err = checkout.run()

    assert (code, f"{checkout.venv}/bin/inv was not installed\n" in err) == (73, True)


def test_the_second_of_two_first_calls_waits_for_the_first(checkout: Checkout) -> None:
    gate = checkout.root / "gate"
    os.mkfifo(gate)
    checkout.uv(hook="read _ < gate")
    first = checkout.start()
    with gate.open("w") as opened:  # as soon as uv reads there
        second = checkout.start()
        assert second.stderr
        assert second.stderr.readline() == "Waiting for another inv, which makes .venv …\n"
        opened.write("\n")

    assert [json.loads(process.communicate()[0])["argv"][1:] for process in (first, second)] == [
        [f"--search-root={checkout.root}"]
    ] * 2
    assert checkout.asked() == ["venv", "pip"]


def test_the_call_after_a_killed_one_waits_for_what_that_has_started(checkout: Checkout) -> None:
    gate = checkout.root / "gate"
    os.mkfifo(gate)
    checkout.uv(hook="read _ < gate; exit 1")
    first = checkout.start()
    with gate.open("w") as opened:
        first.kill()
        first.wait()
        checkout.uv()
        second = checkout.start()
        assert second.stderr
        assert second.stderr.readline() == "Waiting for another inv, which makes .venv …\n"
        opened.write("\n")
    first.communicate()
    second.communicate()

    assert second.returncode == 0


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_checkout_cannot_be_filled(
    module: types.ModuleType,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "make", refuse)
    with pytest.raises(SystemExit) as ended:
        module.main()

    assert ended.value.code == 77
    assert (
        f"Cannot make {module.VENV}: {os.strerror(number)}\n  Type: cp" in capsys.readouterr().err
    )


def test_a_full_disk_that_the_tool_hides_is_found_out(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m venv` swallows the reason for which its ensurepip failed."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=4096))

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        module.raise_if_full_or_read_only("Command returned non-zero exit status 1.")


def test_without_uv_it_is_venv_and_pip(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "run", lambda *command: ran.append(command))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(module, "INV", module.LOCK)  # which is there

    module.mend()

    pip = (module.PYTHON, "-m", "pip", "install", "--no-user")
    hashes = ("--quiet", "--require-hashes", "-r", module.LOCK)
    assert ran == [(BASE, "-m", "venv", module.VENV), (*pip, *hashes)]


def test_a_uv_that_does_not_start_is_none(
    module: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "bin/uv"
    shim.write_text("#!/bin/sh\nexit 127\n")
    monkeypatch.setenv("PATH", str(shim.parent))

    assert module.find_uv() is None


def test_without_ensurepip_it_is_virtualenv(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

    command = ["/bin/virtualenv", "--quiet", "--python", BASE, module.VENV]
    assert module.maker(None) == command


def test_without_any_of_them_the_package_is_named(
    module: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["./inv", "up"])

    with pytest.raises(SystemExit) as ended:
        module.mend()

    version = ".".join(map(str, sys.version_info[:2]))
    assert ended.value.code == 69
    err = capsys.readouterr().err
    assert err.endswith(f"  Type: sudo apt install python{version}-venv && ./inv up\n")
    assert not Path(module.VENV).exists()


def test_windows_is_sent_to_wsl2(
    module: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "os", types.SimpleNamespace(name="nt"))

    with pytest.raises(SystemExit) as ended:
        module.make()

    text = "Composed does not run on Windows itself, but in WSL2; type: wsl --install\n"
    assert (ended.value.code, capsys.readouterr().err) == (69, text)


def test_python_3_6_can_parse_it() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10"])
def test_an_old_python_is_told_in_one_line(checkout: Checkout, version: str) -> None:
    python = next(PYENV.glob(f"{version}.*/bin/python"), None)
    if python is None:
        pytest.skip(f"no Python {version} here")

    code, out, err = checkout.run("up", command=[str(python), "./inv"])

    assert (code, out) == (69, "")
    assert err.startswith(f"Composed needs Python 3.11, {python} is {version}.")
    assert err.endswith("; install that or a newer one and type: python3.11 ./inv up\n")
    assert err.count("\n") == 1
    assert not checkout.venv.exists()


def test_an_old_python_can_start_what_is_made(made: Checkout) -> None:
    python = next(PYENV.glob("3.[6-9].*/bin/python"), None)
    if python is None:
        pytest.skip("no old Python here")

    assert made.ok("up", command=[str(python), "./inv"])["argv"][2:] == ["up"]


# Invoke itself, in the `.venv` that the stand-in for uv made.
SITE = str(Path(invoke.__file__).parent.parent)
REAL_INVOKE = (
    f"import sys; sys.path[:1] = [{SITE!r}]; from invoke.main import program; program.run()"
)
TAB = """
source <(./inv --print-completion-script bash)
COMP_WORDS=(%s); _complete_invoke "" "${COMP_WORDS[-1]}"; echo "${COMPREPLY[*]}"
"""


@pytest.mark.parametrize("program", ["./inv", "../link/inv", "inv"])
@pytest.mark.parametrize(
    ("words", "completed"), [("gr", "greet grumble"), ("greet --n", "--name"), ("greet --x", "")]
)
def test_bash_completes_verbs_and_options_of_the_program_that_is_typed(
    program: str, words: str, completed: str, made: Checkout
) -> None:
    inv = made.venv / "bin/inv"
    inv.write_text(f"#!{sys.executable}\n{REAL_INVOKE}\n")
    inv.chmod(0o755)
    tasks = "@task\ndef greet(c, name=''): pass\n@task\ndef grumble(c): pass\n"
    (made.root / "tasks.py").write_text(f"from invoke import task\n{tasks}")
    (made.root / "invoke.py").unlink()  # Invoke would take it for its configuration
    (made.root.parent / "link").symlink_to(made.root)

    env = {"PATH": f"{made.path}:{inv.parent}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = made.start(command=["bash", "-c", TAB % f"{program} {words}"], env=env)

    assert done.communicate() == (f"{completed}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_no_program_that_may_be_missing(
    shell: str, made: Checkout
) -> None:
    (made.venv / "bin/inv").write_text(REAL_INVOKE)

    code, out, err = made.run("--print-completion-script", shell)

    (asks,) = (line for line in out.splitlines() if "--complete " in line and "#" not in line)
    assert (code, err, "invoke" in asks) == (0, "", False)
    assert "inv" in out.rpartition("complete")[2] or shell == "zsh"


def test_tab_installs_nothing(checkout: Checkout) -> None:
    assert checkout.run("--complete", "--", "./inv", "up") == (0, "", "")
    assert not checkout.venv.exists()


def test_only_what_costs_nothing_is_imported_by_every_call() -> None:
    tree = ast.parse(SOURCE.read_text())
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]

    assert [ast.unparse(node) for node in imports] == ["import errno", "import os", "import sys"]
