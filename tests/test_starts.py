"""What a backend does to the data at each start, and tools that do not fit each other."""

from pathlib import Path
from typing import Any

import pytest

from composed.docker.detection import dangers, script_files
from composed.docker.engine import buildx_problem
from composed.docker.model import Model
from composed.docker.runner import parse_ps
from composed.env.settings import declared
from composed.gateway import Gateway
from composed.project import Project
from tests.recorder import Recorder
from tests.samples import PS_ROW, Inv, ps_answer

ENTRYPOINT = """\
#!/bin/sh
# python manage.py flush
python manage.py flush --no-input
python manage.py collectstatic
python manage.py  loaddata all
exec "$@"
"""


def test_an_entrypoint_that_changes_data_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "entrypoint.sh").write_text(ENTRYPOINT)
    (tmp_path / "Dockerfile").write_text(
        'FROM python\nWORKDIR /app\nCOPY . .\nENTRYPOINT ["/app/entrypoint.sh"]\n'
    )
    web: dict[str, Any] = {"build": {"context": str(tmp_path)}}
    web["command"] = "sh -c 'python manage.py migrate && gunicorn x'"
    service = Model({"services": {"web": web}}).service("web")

    found = dangers(service, Project(tmp_path))

    assert [(danger.place, danger.command) for danger in found] == [
        ("entrypoint.sh:3", "flush"),
        ("entrypoint.sh:5", "loaddata"),
        ("", "migrate"),
    ]


@pytest.mark.parametrize("entrypoint", ["./entrypoint.sh", "../code/entrypoint.sh"])
def test_a_mounted_entrypoint_is_found_from_the_folder_of_the_image(
    entrypoint: str, tmp_path: Path
) -> None:
    (tmp_path / "entrypoint.sh").write_text(ENTRYPOINT)
    (tmp_path / "Dockerfile").write_text("FROM python\nWORKDIR /code\n")
    mount = {"type": "bind", "source": str(tmp_path), "target": "/code"}
    web = {"build": {"context": str(tmp_path)}, "volumes": [mount], "entrypoint": entrypoint}

    found = dangers(Model({"services": {"web": web}}).service("web"), Project(tmp_path))

    assert [danger.place for danger in found] == ["entrypoint.sh:3", "entrypoint.sh:5"]


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        ("exec ./other.sh", True),
        ("sh -e /code/other.sh first", True),
        (". ./other.sh", True),
        ("case $1 in web) ./other.sh ;; esac", True),
        ("true && bash other.sh", True),
        ("if [ $A ]; then DEBUG=1 /bin/sh ./other.sh; fi", True),
        ('"/code/other.sh" "$@"', True),
        ("# exec ./other.sh", False),
        ("chmod +x ./other.sh", False),
        ("exec ./missing.sh", False),
    ],
)
def test_a_script_that_a_script_calls_is_read_too(line: str, is_read: bool, tmp_path: Path) -> None:
    (tmp_path / "start.sh").write_text(f"#!/bin/sh\n{line}\n")
    (tmp_path / "other.sh").write_text("python manage.py flush --no-input\n")
    mount = {"type": "bind", "source": str(tmp_path), "target": "/code"}
    web = {"image": "x", "working_dir": "/code", "volumes": [mount], "command": "./start.sh"}

    found = dangers(Model({"services": {"web": web}}).service("web"), Project(tmp_path))

    assert [danger.place for danger in found] == (["other.sh:1"] if is_read else [])


HOOK = "[uwsgi]\n; hook = exec:manage.py flush\nhook-pre-app = exec:./manage.py migrate\n"


@pytest.mark.parametrize(
    ("files", "command", "place"),
    [
        ({"docker/uwsgi.ini": HOOK}, "uwsgi /opt/app/docker/uwsgi.ini", "docker/uwsgi.ini:3"),
        ({"docker/uwsgi.ini": HOOK}, "uwsgi --ini=docker/uwsgi.ini", "docker/uwsgi.ini:3"),
        (
            {"uwsgi.ini": HOOK},
            "bash -c 'while ! nc db 5432; do sleep 1; done; echo a b c; uwsgi /opt/app/uwsgi.ini'",
            "uwsgi.ini:3",
        ),
        ({"start.sh": "exec uwsgi /opt/app/uwsgi.ini\n", "uwsgi.ini": HOOK}, "./start.sh",
         "uwsgi.ini:3"),
        ({"conf.py": 'def on_starting(_):\n    call_command("migrate")\n'},
         "gunicorn -c conf.py x", "conf.py:2"),
        ({"conf.py": 'run(["python", "manage.py", "migrate"])\n'}, "gunicorn -c conf.py x",
         "conf.py:1"),
        ({"s.conf": "command=/opt/app/run.sh\n", "run.sh": "python manage.py migrate\n"},
         "supervisord -c /opt/app/s.conf", "run.sh:1"),
        ({"p.yml": "a: python manage.py migrate\n"}, "honcho -f p.yml start", "p.yml:1"),
        ({"uwsgi.ini": HOOK}, "uwsgi $PLACE/uwsgi.ini", ""),
        ({"uwsgi.ini": HOOK}, "uwsgi other.ini", ""),
        ({"manage.py": '"""manage.py migrate"""\n'}, "python manage.py runserver", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mounted", [False, True])
def test_a_file_of_settings_that_migrates_is_named(
    files: dict[str, str], command: str, place: str, mounted: bool, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "Dockerfile").write_text("FROM python\nCOPY . /opt/app\nWORKDIR /opt/app\n")
    mounts = [{"type": "bind", "source": str(tmp_path), "target": "/opt/app"}]
    web: dict[str, Any] = {"command": command, "working_dir": "/opt/app"}
    web |= {"volumes": mounts} if mounted else {"build": {"context": str(tmp_path)}}
    service = Model({"services": {"web": web}}).service("web")

    found = dangers(service, Project(tmp_path))

    assert found == ([(place, "migrate")] if place else [])
    assert "uwsgi.ini" not in [file.name for file in script_files(service)]


@pytest.mark.parametrize(
    ("compose", "buildx", "problem"),
    [
        ("2.26.1-4", "github.com/docker/buildx v0.13.1", ""),
        ("2.40.2", "github.com/docker/buildx v0.13.1 7", "0.17 or newer; here is Buildx 0.13.1"),
        ("5.0.0", "", "0.17 or newer; here is no Buildx"),
        ("5.0.0", "github.com/docker/buildx v0.17.0", ""),
    ],
)
def test_a_newer_compose_needs_a_newer_buildx(
    compose: str, buildx: str, problem: str, recorder: Recorder
) -> None:
    recorder.on("compose", "version").say(compose)
    recorder.on("buildx", "version").say(buildx)

    found = buildx_problem(Gateway(Path()))

    assert bool(found) == bool(problem)
    assert problem in str(found or "")


def test_a_failed_build_for_such_a_pair_is_69(inv: Inv, recorder: Recorder) -> None:
    recorder.on("compose", "version").say("2.40.2")
    recorder.on("buildx", "version").say("github.com/docker/buildx v0.13.1")
    recorder.on("build").say(code=17)

    assert inv("build") == 69
    assert "docs.docker.com/build/install-buildx" in inv.err()


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ((), "http://127.0.0.1:8123"),
        (("localhost",), "http://localhost:8123"),
        (("localhost", "127.0.0.1"), "http://127.0.0.1:8123"),
        (("*",), "http://127.0.0.1:8123"),
    ],
)
def test_the_url_has_a_name_that_django_takes(hosts: tuple[str, ...], url: str) -> None:
    (service,) = parse_ps(ps_answer(PS_ROW), "backend", hosts)

    assert service.url == url


def test_an_example_may_export_its_names() -> None:
    text = 'export A=1\n# export B=\nC=""\n  D=x\n'

    assert declared(text) == {"A": "1", "B": "", "C": ""}
