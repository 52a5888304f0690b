"""The command of manage.py in a container, and the variables that an entrypoint exports."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from composed.docker.django import (
    EXPORTS,
    ManageCommand,
    exporting,
    manage_command,
    server_variables,
)
from composed.docker.dockerfile import Dockerfile
from composed.docker.model import Model
from composed.gateway import Gateway
from tests.recorder import Recorder


def found(tree: Path, **service: Any) -> ManageCommand:
    """Return the command for a service, with the folder of the project as build context."""
    return manage_command(Model({"services": {"web": service}}).service("web"), tree)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python manage.py runserver 0.0.0.0:8000", "python manage.py"),
        ("python -u manage.py runserver", "python -u manage.py"),
        ("./manage.py runserver", "python ./manage.py"),
        ("python /code/manage.py runserver", "python /code/manage.py"),
        ("/venv/bin/python3.12 manage.py runserver", "/venv/bin/python3.12 manage.py"),
        ("uv run --no-sync python manage.py runserver", "uv run --no-sync python manage.py"),
        ("uv run manage.py runserver", "uv run manage.py"),
        ("poetry run python manage.py runserver", "poetry run python manage.py"),
        ("python -m debugpy --listen 0.0.0.0:5678 manage.py runserver", "python manage.py"),
        ("coverage run manage.py runserver", "python manage.py"),
        (["sh", "-c", "./wait && python src/manage.py migrate && gunicorn a.wsgi"], "python src/…"),
        ("gunicorn shop.wsgi --bind 0.0.0.0:8000", "python manage.py"),
        ("uv run gunicorn shop.wsgi", "uv run python manage.py"),
        ("/venv/bin/uvicorn shop.asgi:application", "/venv/bin/python manage.py"),
        ("/start-gunicorn.sh", "python manage.py"),
        ("python -m gunicorn shop.wsgi", "python manage.py"),
        ("/venv/bin/python -u -m uvicorn shop.asgi", "/venv/bin/python -u manage.py"),
        ("uv run -m gunicorn shop.wsgi", "uv run python manage.py"),
        ("true;./manage.py migrate;./manage.py runserver", "python ./manage.py"),
        (None, "python manage.py"),
    ],
)
def test_the_command_of_the_service_says_how_python_starts(command: Any, words: str) -> None:
    manage = found(Path("/p"), command=command)

    assert " ".join(manage.words) == words.replace("…", "manage.py")
    assert manage.options == []


@pytest.mark.parametrize(
    ("dockerfile", "service", "folder"),
    [
        ("WORKDIR /code", {"volumes": [".:/code"]}, "/code/api"),
        ("WORKDIR /code/api", {"volumes": [".:/code"]}, ""),
        ("WORKDIR /app\nCOPY . .", {"volumes": [".:/code"]}, "/code/api"),
        ("WORKDIR /app\nCOPY . /app", {}, "/app/api"),
        ("WORKDIR /app\nCOPY api .", {}, ""),
        ("WORKDIR /app\nCOPY ./api/ ./", {}, ""),
        ('WORKDIR /app\nCOPY --chown=1:1 ["api", "/srv"]', {}, "/srv"),
        ("ARG HOME=/srv\nWORKDIR ${HOME}/x\nCOPY . $HOME", {}, "/srv/api"),
        ("ENV HOME /srv\nWORKDIR $HOME/api\nCOPY . $HOME", {}, ""),
        ("WORKDIR /app", {"working_dir": "/code/api", "volumes": [".:/code"]}, ""),
        ("WORKDIR /app", {"volumes": [".:/code", "./api:/inner"]}, "/inner"),
        ("WORKDIR /app\nCOPY --from=build /x /app/api", {}, ""),
        ("", {}, ""),
        ("WORKDIR /app\nCOPY web .", {}, ""),
        ("WORKDIR /app/web\nCOPY api ../api", {}, "/app/api"),
        ("WORKDIR /app\nWORKDIR ../srv\nCOPY ./web/../api .", {}, ""),
    ],
)
def test_the_folder_of_manage_py_is_in_a_mount_or_in_the_image(
    dockerfile: str, service: dict[str, Any], folder: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    mounts = [
        dict(zip(("source", "target"), mount.split(":"), strict=True), type="bind")
        for mount in service.get("volumes", ())
    ]
    for mount in mounts:
        mount["source"] = str(tmp_path / mount["source"])
    build = {"context": str(tmp_path), "dockerfile": "Dockerfile"}

    manage = found(tmp_path / "api", **service | {"volumes": mounts, "build": build})

    assert manage.folder == folder
    assert manage.options == (["--workdir", folder] if folder else [])


@pytest.mark.parametrize(
    ("command", "words", "folder"),
    [
        ("cd /code/mysite && python manage.py runserver", "manage.py", "/code/mysite"),
        ("cd /code; cd mysite; python ./manage.py runserver", "./manage.py", "/code/mysite"),
        ("cd mysite && python manage.py runserver", "manage.py", "/app/mysite"),
        ("cd ../code/ && python manage.py runserver", "manage.py", "/code"),
        ("cd /app && python manage.py runserver", "manage.py", ""),
        ("cd /code && python /app/manage.py runserver", "/app/manage.py", ""),
        ("(cd /page && npm run build) && python manage.py runserver", "manage.py", ""),
        ("cd /code && exec gunicorn shop.wsgi", "manage.py", "/code"),
        ("python manage.py runserver && cd /late", "manage.py", ""),
        (
            "set -e\n# then start manage.py\ncd /code\npython api/manage.py runserver",
            "api/manage.py",
            "/code",
        ),
        ('cd "$(dirname "$0")" && python api/manage.py runserver', "manage.py", ""),
        ("python $HOME/manage.py runserver", "manage.py", ""),
    ],
)
@pytest.mark.parametrize("in_script", [False, True])
def test_a_relative_manage_py_is_in_the_folder_of_the_last_cd(
    command: str, words: str, folder: str, in_script: bool, tmp_path: Path
) -> None:
    (tmp_path / "start.sh").write_text(command)
    mount = {"type": "bind", "source": str(tmp_path / "start.sh"), "target": "/start.sh"}
    starts = "/start.sh" if in_script else ["sh", "-c", command]

    service = {"working_dir": "/app", "volumes": [mount]}
    manage = found(tmp_path, command=starts, **service)

    assert (" ".join(manage.words), manage.folder) == (f"python {words}", folder)


def test_an_entrypoint_changes_the_folder_for_the_command(tmp_path: Path) -> None:
    (tmp_path / "start.sh").write_text('cd /code\nexec "$@"\n')
    mount = {"type": "bind", "source": str(tmp_path / "start.sh"), "target": "/start.sh"}
    command = "python manage.py runserver"

    manage = found(tmp_path, entrypoint="/start.sh", command=command, volumes=[mount])

    assert manage == ManageCommand(["python", "manage.py"], "/code")


def test_the_mount_says_the_folder_that_only_a_shell_knows(tmp_path: Path) -> None:
    mount = {"type": "bind", "source": str(tmp_path), "target": "/code"}
    command = ["sh", "-c", 'cd "$HERE" && python api/manage.py runserver']

    manage = found(tmp_path / "api", command=command, volumes=[mount])

    assert manage == ManageCommand(["python", "manage.py"], "/code/api")


def test_without_a_known_folder_the_path_of_manage_py_is_whole(tmp_path: Path) -> None:
    manage = found(tmp_path, command=["sh", "-c", "cd src && python manage.py runserver"])

    assert manage == ManageCommand(["python", "src/manage.py"])


STAGES = """\
# syntax=docker/dockerfile:1
FROM --platform=linux/amd64 python:3.13 AS Base
WORKDIR /base
ENTRYPOINT ["/old"]
FROM node:24 AS assets
WORKDIR /assets
CMD npm start
FROM base
ENTRYPOINT \\
  ["/entrypoint", "--"]
# a comment between
CMD ["gunicorn",  \\
  "shop.wsgi"]
"""


@pytest.mark.parametrize(
    ("target", "folder", "starts"),
    [
        ("", "/base", '["/entrypoint", "--"] ["gunicorn", "shop.wsgi"]'),
        ("assets", "/assets", "npm start"),
        ("BASE", "/base", '["/old"]'),
    ],
)
def test_only_the_stage_of_the_target_counts(target: str, folder: str, starts: str) -> None:
    read = Dockerfile(STAGES, target)

    assert (read.workdir, " ".join(f"{read.entrypoint} {read.command}".split())) == (folder, starts)
    assert read.images == ["python:3.13", "node:24"]


def test_the_image_has_nothing_from_outside_of_the_build_context() -> None:
    read = Dockerfile("FROM python\nWORKDIR /app\nCOPY . .\nCOPY ../x /x\n")

    assert (read.copies(".."), read.copies("../api"), read.copies("api")) == ([], [], ["/app/api"])
    assert read.sources("../start.sh") == []
    assert read.sources("/x/a") == ["x/a"]


def test_a_dockerfile_that_is_not_there_is_empty(tmp_path: Path) -> None:
    read = Dockerfile.at(tmp_path / "Dockerfile")

    assert (read.workdir, read.command, read.images) == ("", "", [])


PROCESSES = """\
\x0121\0DATABASE_URL=of-another\0TERM=xterm\0
\x011\0PATH=/bin\0HOME=/root\0PWD=/app\0
\x017\0PATH=/venv/bin:/bin\0DATABASE_URL=postgres://a=b\0TEXT=two
lines\0RUN_MAIN=true\0
"""


@pytest.mark.parametrize(
    ("config", "processes", "variables"),
    [
        (
            {"entrypoint": ["/e"], "env": ["PATH=/bin"]},
            PROCESSES,
            {"PATH": "/venv/bin:/bin", "DATABASE_URL": "postgres://a=b", "TEXT": "two\nlines"},
        ),
        ({"entrypoint": ["/e"], "env": None}, "", {}),
        ({"entrypoint": None, "env": []}, PROCESSES, {}),
        ("gone", PROCESSES, {}),
    ],
)
def test_the_exports_of_an_entrypoint_are_taken_from_the_server(
    config: object, processes: str, variables: dict[str, str], recorder: Recorder
) -> None:
    text = config if isinstance(config, str) else json.dumps(config)
    recorder.on("docker", "inspect").say(text)
    recorder.on("docker", "exec").say(processes)

    assert server_variables(Gateway(Path()), "c1") == variables


@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"]])
def test_a_command_runs_in_the_exports(shell: list[str]) -> None:
    variables = {"UID": "7", "TEXT": "two\nlines, 'quoted' $HOME", "SHOP": "x", "PATH": "/nowhere"}
    show = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]

    (_, *words), value = exporting(variables, show)
    done = subprocess.run([*shell, *words], env={EXPORTS: value}, capture_output=True, check=True)

    seen = json.loads(done.stdout)
    assert {name: seen[name] for name in ("TEXT", "SHOP", "PATH")} == {
        name: variables[name] for name in ("TEXT", "SHOP", "PATH")
    }
    assert (EXPORTS in seen, done.stderr) == (False, b"")


def test_without_exports_a_command_stays() -> None:
    assert exporting({}, ["a", "b"]) == (["a", "b"], "")
