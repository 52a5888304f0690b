"""The checks of CI, a session each; `nox -s lock` renews the locks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeAlias

import nox

nox.needs_version = ">=2026.10"
nox.options.sessions = ["lint", "unit", "package(local)", "integration(local)"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.stop_on_first_error = True

# The certificates of the machine, as pip takes them: a company may have an authority of its own.
os.environ.setdefault("UV_SYSTEM_CERTS", "true")

ROOT = Path(__file__).parent

# The names of all settings: a session takes no setting from the caller.
SETTINGS = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
Environment: TypeAlias = dict[str, str | None]
NOTHING_FROM_OUTSIDE: Environment = dict.fromkeys([*SETTINGS, "COMPOSE_ENV_FILES"])

LOCAL = "tests/real/local"
PACKAGE = "tests/real/test_package.py"
MODES = [nox.param(mode, id=mode) for mode in ("docker", "local")]

# A stack that is thrown away needs no time to end well.
DOWN = ("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5")
END = {
    "docker": ("inv", "dc", "--", *DOWN),
    "local": ("inv", "down", "--volumes", "--no-snapshot", "--yes"),
}

# For a child to end after Ctrl-C, before nox kills the child: containers take a while.
SECONDS_TO_END = 60.0

ENDING = (signal.SIGTERM, signal.SIGHUP)

PYTEST = ("pytest", "--durations", "5")

PRODUCTION = {
    "SECRET_KEY": secrets.token_urlsafe(48),
    "ALLOWED_HOSTS": "example.org",
    "DATABASE_ENGINE": "sqlite",
}


def found_pythons() -> list[str]:
    """Return the Pythons from 3.11 to 3.14 that this machine can run."""
    for bin_ in sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin")):
        os.environ["PATH"] += f":{bin_}"
    return [version for version in ("3.11", "3.12", "3.13", "3.14") if runs(f"python{version}")]


def runs(python: str) -> bool:
    """Say whether the interpreter starts: a pyenv shim may stand for nothing."""
    if path := shutil.which(python):
        return subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0
    return False


PYTHONS = found_pythons()


def legs() -> list[tuple[str, str]]:
    """Return each Python with each Django that supports it; Django 6 starts at Python 3.12."""
    return [(p, d) for p in PYTHONS for d in ("5.2", "6.1") if (p, d) != ("3.11", "6.1")]


@nox.session
def lint(session: nox.Session) -> None:
    """Check every kind of file, the locks, Django, Gunicorn, types: cheap checks come first."""
    session.install("--require-hashes", "-r", "locks/lint.txt")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")  # the layers of composed/, in pyproject.toml
    session.run("hadolint", *found("server/Dockerfile", ".ci/**/Dockerfile"))
    session.run("shellcheck", "--external-sources", *shell_scripts())
    session.run("yamllint", "--strict", *found("*.y*ml", ".github/**/*.y*ml"))
    schema = ("check-jsonschema", "--builtin-schema")
    session.run(*schema, "vendor.github-workflows", *found(".github/workflows/*"))
    session.run(*schema, "vendor.dependabot", ".github/dependabot.yml")
    session.run(*schema, "vendor.compose-spec", *compose_files_without_tags(session))
    session.run("zizmor", "--offline", "--quiet", "--persona", "pedantic", ".github")
    session.run("pre-commit", "validate-config", ".pre-commit-config.yaml")
    production = {**PRODUCTION, "SQLITE_PATH": str(scratch(session) / "db.sqlite3")}
    manage = ("python", "server/manage.py")
    session.run(*manage, "makemigrations", "--check", "--dry-run", env=production)
    session.run(*manage, "check", "--deploy", "--fail-level", "WARNING", env=production)
    gunicorn = ("gunicorn", "--config", "gunicorn.conf.py", "--check-config")
    with session.chdir("server"):
        session.run(*gunicorn, "task_api.wsgi:application", env=production)
    check_locks(session)
    session.run("mypy", env=production)


@nox.session
@nox.parametrize("python,django", legs())
def unit(session: nox.Session, django: str) -> None:
    """Test the machinery, and the server on SQLite."""
    newest = "-next" if django == "6.1" else ""
    codes = [0, 5] if session.posargs else [0]  # -- ARGS may select in one half alone
    session.install("--require-hashes", "-r", f"locks/unit{newest}.txt")
    if not newest:  # the machinery knows nothing of Django
        is_measured = session.python == PYTHONS[-1] and not session.posargs
        measured = ("--cov", "--cov-report=term-missing:skip-covered") if is_measured else ()
        machinery = (*pytest_in_two(session), *measured)
        run(session, *machinery, env=NOTHING_FROM_OUTSIDE, success_codes=codes)
    with session.chdir("server"):
        run(session, *pytest_in_two(session), env=NOTHING_FROM_OUTSIDE, success_codes=codes)


@nox.session
@nox.parametrize("mode", MODES)
def integration(session: nox.Session, mode: str) -> None:
    """Start a stack for tests: HTTP, the server on PostgreSQL, the verbs on a real engine."""
    session.install("--require-hashes", "-r", "locks/package.txt")
    suite = (*PYTEST, *session.posargs)
    codes = [0, 5] if session.posargs else [0]  # -- ARGS may select in one suite alone
    with stack_of_its_own(session, mode) as env:
        run(session, "inv", "up", *(["--build"] if mode == "docker" else []), "--migrate", env=env)
        url = f"--url={address(session, env)}"
        run(session, *suite, "tests/http", url, env=env, success_codes=codes)
        if not session.posargs:
            check_contract(session, address(session, env))
        if mode == "docker":
            inside = ("inv", "dc", "--", "run", "--build", "--rm", "test", *suite)
            run(session, *inside, "--database=postgresql", env=env, success_codes=codes)
    others = ("tests/real", f"--ignore={LOCAL}", f"--ignore={PACKAGE}")
    real = {"docker": others, "local": (LOCAL,)}[mode]
    suite = pytest_in_two(session, "--dist", "loadfile")
    run(session, *suite, *real, env=NOTHING_FROM_OUTSIDE, success_codes=codes)


def check_contract(session: nox.Session, url: str) -> None:
    """Send requests that the server's OpenAPI schema allows or forbids: each answer is as it says.

    The seed is fixed, and printed: a failure comes again.
    """
    if PYTHONS[-1] == "3.11":
        session.warn("NOT CHECKED: the API against its schema. Schemathesis needs Python 3.12.")
        return
    st = str(scratch(session) / "contract")
    session.run("uv", "venv", "--quiet", "--clear", "--python", f"python{PYTHONS[-1]}", st)
    install = ("uv", "pip", "install", "--quiet", "--python", st, "--require-hashes")
    session.run(*install, "-r", "locks/contract.txt")
    schema = f"{url}/api/openapi.json"
    options = ("--checks", "all", "--max-examples", "50", "--seed", "11", "--no-color")
    with session.chdir(scratch(session)):  # Schemathesis leaves files
        session.run(f"{st}/bin/st", "run", schema, *options, external=True)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, cut off and cramp verbs that work on data: every committed row is there."""
    session.install("--require-hashes", "-r", "locks/test.txt")
    suite = pytest_in_two(session, "--dist", "loadfile")
    run(session, *suite, "tests/faults", env=NOTHING_FROM_OUTSIDE)


@nox.session
@nox.parametrize("mode", MODES)
def package(session: nox.Session, mode: str) -> None:
    """Build the wheel, install the wheel alone, run the verbs of another project.

    In local mode, also build and check what a release publishes.
    """
    session.install("--require-hashes", "-r", "locks/package.txt")
    wheel = build_wheel(session)
    if mode == "local":  # once is enough, and the mode needs no engine
        check_release(session, Path(wheel))
    empty = environment_with(session, wheel, "django", "gunicorn")
    signal.signal(signal.SIGTERM, interrupt)
    other = {"docker": "local", "local": "docker"}[mode]
    chosen = (PACKAGE, "-k", f"not {other}", f"--environment={empty}", *session.posargs)
    run(session, *PYTEST, *chosen, env=NOTHING_FROM_OUTSIDE)


@nox.session
def foreign(session: nox.Session) -> None:
    """Run the verbs of the wheel in projects that know nothing of Composed."""
    session.install("--require-hashes", "-r", "locks/package.txt")
    modern = "tests/foreign/projects/modern/pyproject.toml"  # imports all that the others do
    environment = environment_with(session, build_wheel(session), "--requirements", modern)
    suite = pytest_in_two(session, "--dist", "loadfile")
    chosen = ("tests/foreign", f"--environment={environment}")
    run(session, *suite, *chosen, env=NOTHING_FROM_OUTSIDE)


@nox.session(reuse_venv=True)
def one(session: nox.Session) -> None:
    """Run the tests named after `--` on this Python, as quickly as pytest can: to develop."""
    lock, stamp = ROOT / "locks/unit.txt", Path(session.virtualenv.location) / "installed.txt"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        session.install("--require-hashes", "-r", str(lock))
        shutil.copy(lock, stamp)
    run(session, "pytest", *session.posargs, env=NOTHING_FROM_OUTSIDE)


def environment_with(session: nox.Session, *packages: str) -> str:
    """Return the folder of an environment with these packages, a wheel among them, alone."""
    empty = str(scratch(session) / "empty")
    session.run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, empty)
    install = ("uv", "pip", "install", "--python", empty, "--constraint", "locks/inv.txt")
    session.run(*install, *packages, silent=True)
    return empty


def build_wheel(session: nox.Session) -> str:
    """Return the path of a new wheel, built with the locked tools alone."""
    folder = empty_folder(session, "dist")
    build = ("uv", "build", "--wheel", "--no-build-isolation", "--out-dir", str(folder))
    session.run(*build, silent=True)
    return str(next(folder.glob("*.whl")))


def check_release(session: nox.Session, wheel: Path) -> None:
    """Build an sdist, and a wheel from the sdist alone: the index takes both, nothing is missing.

    `.github/workflows/release.yml` publishes the files of this folder.
    """
    folder = empty_folder(session, "release")
    build = ("python", "-m", "build", "--no-isolation", "--outdir", str(folder))
    session.run(*build, silent=True)
    session.run("twine", "check", "--strict", *map(str, sorted(folder.iterdir())))
    [from_sdist] = folder.glob("*.whl")
    if names := differing(wheel, from_sdist):
        session.error(f"The sdist makes another wheel than this folder: {', '.join(names)}")


def differing(wheel: Path, other: Path) -> list[str]:
    """Return the names of the files that only one wheel has, or that have another content."""
    return sorted({name for name, _ in contents(wheel) ^ contents(other)})


def contents(wheel: Path) -> set[tuple[str, bytes]]:
    """Return the files of a wheel: name and content."""
    with zipfile.ZipFile(wheel) as archive:
        return {(name, archive.read(name)) for name in archive.namelist()}


@nox.session
def lock(session: nox.Session) -> None:
    """Renew every lock, with hashes, for the oldest Python supported."""
    session.install("uv")
    for source in lock_sources():
        compile_lock(session, source, source.with_suffix(".txt"), *session.posargs or ["--upgrade"])


def lock_sources() -> list[Path]:
    """Return the sources of the locks, the server's first: those versions bound the others."""
    return [ROOT / name for name in reversed(found("locks/*.in", "server/*.in"))]


def compile_lock(session: nox.Session, source: Path, target: Path, *options: str) -> None:
    """Write the versions and hashes; those that the target has already stay, unless upgraded."""
    name = str(source.relative_to(ROOT))
    floor = "3.12" if "next" in name or "contract" in name else "3.11"
    session.run(
        *("uv", "pip", "compile", "--universal", "--python-version", floor),
        *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--quiet"),
        *("--custom-compile-command", "nox -s lock", *options),
        *(name, "--output-file", str(target)),
    )


def check_locks(session: nox.Session) -> None:
    """Compile each lock upon a copy of itself: new releases change nothing, an edited .in does."""
    for source in lock_sources():
        current = source.with_suffix(".txt")
        again = Path(shutil.copy(current, scratch(session)))
        compile_lock(session, source, again)
        if locked(again) != locked(current):
            name = current.relative_to(ROOT)
            session.error(f"{name} does not answer its .in: nox -s lock -- --no-upgrade")


def locked(file: Path) -> list[str]:
    """Return versions and hashes; the comments change with the compiler's own version."""
    return [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]


def found(*patterns: str) -> list[str]:
    """Return the files, as they are called from here."""
    return sorted(str(file.relative_to(ROOT)) for glob in patterns for file in ROOT.glob(glob))


def shell_scripts() -> list[str]:
    """Return the scripts that CI runs in a shell: the first line names the shell."""
    first_line = re.compile(rb"#!.*sh\n|# shellcheck shell=")
    files = [name for name in found(".ci/**/*") if (ROOT / name).is_file()]
    return [name for name in files if first_line.match((ROOT / name).read_bytes())]


def compose_files_without_tags(session: nox.Session) -> list[str]:
    """Return copies without Compose's own tags (!reset), which no YAML reader but Compose knows."""
    copies = [scratch(session) / name for name in found("docker-compose*.yml")]
    for copy in copies:
        copy.write_text(re.sub(r"!(reset|override)\b", "", (ROOT / copy.name).read_text()))
    return [str(copy) for copy in copies]


def pytest_in_two(session: nox.Session, *options: str) -> tuple[str, ...]:
    """Return pytest in two processes: most tests wait. A selection after `--` runs in one."""
    return (*PYTEST, *(session.posargs or ("--numprocesses", "2", *options)))


def empty_folder(session: nox.Session, name: str) -> Path:
    """Return a folder for files of this run alone; the builder makes it."""
    folder = scratch(session) / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def scratch(session: nox.Session) -> Path:
    """Return the session's folder for temporary files."""
    return Path(session.create_tmp()).resolve()


def run(
    session: nox.Session, *argv: str, env: Environment, success_codes: Iterable[int] = (0,)
) -> None:
    """Run a command that gets time, when interrupted, to remove containers."""
    session.run(
        *argv,
        env=env,
        success_codes=success_codes,
        interrupt_timeout=SECONDS_TO_END,
        terminate_timeout=SECONDS_TO_END,
    )


@contextlib.contextmanager
def stack_of_its_own(session: nox.Session, mode: str) -> Iterator[Environment]:
    """Give the environment of a stack beside yours; remove the stack in every case."""
    folder = ROOT / ".composed" / f"integration-{mode}"
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(session, folder / "lock"):
        (folder / "env").write_text(settings_of_its_own(mode, folder))
        env = {**NOTHING_FROM_OUTSIDE, "COMPOSE_ENV_FILES": str(folder / "env")}
        bundle_line = ""
        try:
            yield env
        except BaseException as error:
            run(session, "inv", "logs", "--tail", "50", env=env, success_codes=range(256))
            step = f"{session.name}: {error or type(error).__name__}"
            bundle = ("inv", "doctor", "--bundle", "--", step)
            bundle_line = str(session.run(*bundle, env=env, success_codes=range(256), silent=True))
            raise
        finally:
            run(session, *END[mode], env=env, success_codes=range(256))
            if mode == "docker":  # `--rmi local` leaves an image with a name of its own
                image = f"{own_name(mode)}-backend-production"
                session.run("docker", "image", "rm", "--force", image, external=True, silent=True)
            if bundle_line:  # last, for the reader: the folder with everything known
                session.warn(bundle_line)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End on SIGTERM (a canceled CI run) or SIGHUP (a closed terminal) as on Ctrl-C.

    The children are interrupted too, once: a second signal would kill the children.
    """
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)
    subprocess.call(["pkill", "-INT", "-P", str(os.getpid())])
    signal.default_int_handler(number, frame)


for _number in ENDING:
    if signal.getsignal(_number) is not signal.SIG_IGN:  # nohup stays nohup
        signal.signal(_number, interrupt)


def own_name(mode: str) -> str:
    """Return a Compose project name that no other folder's run has."""
    return f"integration-{mode}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"


def settings_of_its_own(mode: str, folder: Path) -> str:
    """Return an env file with its own project name, data, and ports that are free."""
    common = (
        f"COMPOSE_PROJECT_NAME={own_name(mode)}\nBACKEND_PORT=0\nDB_PORT=0\nCOMPOSED_MODE={mode}\n"
    )
    if mode == "local":
        return f"{common}SQLITE_PATH={folder / 'db.sqlite3'}\n"
    files = ("docker-compose.yml", "docker-compose.production.yml", "docker-compose.test.yml")
    return f"{common}COMPOSE_FILE={':'.join(files)}\nALLOWED_HOSTS=127.0.0.1\nHTTPS_ONLY=false\n"


@contextlib.contextmanager
def only_one(session: nox.Session, file: Path) -> Iterator[None]:
    """Refuse a second integration run in this folder: it would end the first one's stack."""
    with file.open("w") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            session.error("Another integration run is under way in this folder.")
        yield


def address(session: nox.Session, env: Environment) -> str:
    """Return where the stack's backend answers."""
    shown = session.run("inv", "ps", "--json", env=env, silent=True)
    services = json.loads(str(shown))["services"]
    return next(str(row["url"]) for row in services if row["url"])
