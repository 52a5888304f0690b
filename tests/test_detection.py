"""The services of a Compose model that run Django and its database."""

from pathlib import Path
from typing import Any

import pytest

from composed.docker.detection import backends, databases, is_database, same_image, scripts, serves
from composed.docker.model import Model


def services(**services: object) -> Model:
    return Model({"name": "shop", "services": services})


def built(folder: Path, dockerfile: str, **about: object) -> dict[str, Any]:
    """Return a service that is built from this Dockerfile."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    return {"build": {"context": str(folder)}, **about}


@pytest.mark.parametrize(
    "image",
    [
        "postgres",
        "postgres:15@sha256:0123",
        "localhost:5000/shop/postgis:16-3.4",
        "pgvector/pgvector:pg17",
        "timescale/timescaledb-ha",
        "pgautoupgrade/pgautoupgrade:17-alpine",
        "bitnami/postgresql",
    ],
)
def test_the_database_service_has_an_image_of_postgresql(image: str) -> None:
    assert databases(services(web={"build": "."}, data={"image": image})) == ["data"]


@pytest.mark.parametrize(
    "image",
    ["", "mysql:8", "postgres.example.org/redis", "shop:postgres", "prom/postgres-exporter"],
)
def test_an_image_of_another_program_is_no_database(image: str) -> None:
    assert databases(services(db={"image": image})) == []


def test_variables_and_a_mount_show_a_database_with_another_image() -> None:
    mount = {"type": "volume", "source": "data", "target": "/var/lib/postgresql/data"}
    data = {"image": "acme/data:1", "environment": {"POSTGRES_PASSWORD": "x"}, "volumes": [mount]}

    assert databases(services(data=data)) == ["data"]
    assert databases(services(data=data | {"volumes": []})) == []
    settings = mount | {"type": "bind", "target": "/etc/postgresql/postgresql.conf"}
    assert databases(services(data=data | {"volumes": [settings]})) == []


@pytest.mark.parametrize(
    ("dockerfile", "names"),
    [
        ("ARG V=15\nFROM postgres:${V}\n", ["data"]),
        ("FROM golang AS tool\nFROM postgis/postgis AS own\nFROM own\n", ["data"]),
        ("FROM postgres AS client\nFROM python\nCOPY --from=client /usr/bin/psql /bin\n", []),
    ],
)
def test_a_database_service_may_be_built(tmp_path: Path, dockerfile: str, names: list[str]) -> None:
    assert databases(services(data=built(tmp_path, dockerfile))) == names


@pytest.mark.parametrize(
    ("needs", "names"),
    [(["db"], ["db"]), (["pool"], ["db"]), ([], ["db", "old"]), (["db", "old"], ["db", "old"])],
)
def test_the_backend_decides_between_several_databases(needs: list[str], names: list[str]) -> None:
    model = services(
        web={"build": ".", "ports": ["80"], "depends_on": needs},
        pool={"image": "pgbouncer", "depends_on": ["db"]},
        db={"image": "postgres:15"},
        old={"image": "postgres:14"},
    )

    assert databases(model, "web") == names


@pytest.mark.parametrize(("image", "is_one"), [("mariadb:11", True), ("mongo-express", False)])
def test_a_database_may_be_of_another_kind(image: str, is_one: bool) -> None:
    assert is_database(services(db={"image": image}).service("db")) == is_one


DB: dict[str, Any] = {"image": "postgres"}
RUNSERVER = {"image": "shop", "command": "sh -c 'manage.py migrate && manage.py runserver'"}


@pytest.mark.parametrize(
    ("others", "names"),
    [
        ({}, []),
        ({"web": {"build": "."}}, ["web"]),
        ({"web": {"image": "shop"}}, []),
        ({"web": {"image": "shop", "command": ["gunicorn", "--workers", "4"]}}, ["web"]),
        ({"web": {"image": "shop", "command": "python manage.py shop"}}, ["web"]),
        ({"web": RUNSERVER, "front": {"build": ".", "ports": ["80:80"]}}, ["web"]),
        ({"web": RUNSERVER, "tasks": {"build": ".", "command": "celery -A shop worker"}}, ["web"]),
        ({"web": {"build": "."}, "flower": {"build": ".", "ports": ["5555:5555"]}}, ["web"]),
        ({"web": RUNSERVER, "test": {**RUNSERVER, "ports": ["8001:8000"]}}, ["web"]),
        ({"web": RUNSERVER, "other": {**RUNSERVER, "ports": ["8001:8000"]}}, ["other"]),
        ({"web": {"build": "."}, "admin": {"build": "."}}, ["web", "admin"]),
        ({"web": {"build": ".", "depends_on": ["db"]}, "pages": {"build": "."}}, ["web"]),
        ({"web": RUNSERVER, "other": RUNSERVER}, ["web", "other"]),
        ({"web": RUNSERVER, "migrations": RUNSERVER, "web-init": RUNSERVER}, ["web"]),
    ],
)
def test_the_backend_service_serves_django(others: dict[str, Any], names: list[str]) -> None:
    assert backends(services(db=DB, **others)) == names


def test_the_dockerfile_has_the_command_of_a_service_without_a_command(tmp_path: Path) -> None:
    serving = built(tmp_path / "a", 'FROM python\nRUN pip install x\nCMD ["gunicorn", "shop"]\n')
    front = built(tmp_path / "b", "FROM nginx\n# before gunicorn\n", ports=["80:80"])
    migrating = {**serving, "command": "python manage.py migrate", "ports": ["81:81"]}

    assert backends(services(web=serving, front=front, first=migrating)) == ["web"]


def test_the_source_decides_between_a_mount_and_a_page(tmp_path: Path) -> None:
    mount = {"type": "bind", "source": str(tmp_path / "app"), "target": "/app"}
    page = built(tmp_path / "page", "FROM node", ports=["80:80"])

    model = services(web={"image": "python", "volumes": [mount]}, page=page)

    assert backends(model, tmp_path / "app/src") == ["web"]


def test_a_script_that_is_copied_or_mounted_shows_a_server(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/start").write_text("python manage.py runserver\n")
    (tmp_path / "run.sh").write_text("gunicorn shop.wsgi\n")
    copied = built(tmp_path, "FROM python\nCOPY ./deploy/start /start\n", command="/start")
    mount = {"type": "bind", "source": str(tmp_path), "target": "/code"}
    mounted = {"image": "x", "working_dir": "/code", "command": "./run.sh", "volumes": [mount]}
    missing = built(tmp_path / "x", "FROM python\n", command="/start")

    model = services(copied=copied, mounted=mounted, missing=missing)

    assert [scripts(service).strip() for service in model.services.values()] == [
        "python manage.py runserver",
        "gunicorn shop.wsgi",
        "",
    ]
    assert backends(model) == ["copied", "mounted"]


def test_a_comment_in_a_script_is_no_command(tmp_path: Path) -> None:
    (tmp_path / "start").write_text("# gunicorn comes later\n")
    service = built(tmp_path, "FROM python\nCOPY start /start\n", command="/start")

    assert not serves(services(web=service).service("web"))


def test_workers_run_the_image_of_the_backend() -> None:
    build = {"context": "/p", "dockerfile": "Dockerfile"}
    model = services(
        web={"build": build}, worker={"build": build}, other={"image": "x"}, db={"image": "y"}
    )

    assert same_image(model, "web") == ["worker"]
    assert same_image(model, "other") == []
