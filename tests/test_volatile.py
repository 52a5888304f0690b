"""Databases whose data end with the container: how `down` treats the containers."""

import json
from pathlib import Path
from typing import Any

import pytest

from composed.docker.volatile import Volatile, volatile
from composed.gateway import Gateway
from tests.recorder import Recorder
from tests.samples import DB_ROW, DC, PS_ROW, Inv, ps_answer

NAMELESS = "0a" * 32
DATA = "/var/lib/postgresql/data"
MYSQL = "/var/lib/mysql"
POSTGRES = {"service": "db", "image": "postgres:15", "env": [f"PGDATA={DATA}"]}


def volume(name: str, path: str = DATA) -> dict[str, str]:
    return {"Type": "volume", "Name": name, "Destination": path}


OTHER = {"service": "m", "mounts": [volume(NAMELESS, MYSQL)]}
FOUND, MSSQL = Volatile("m", NAMELESS, MYSQL), Volatile("m", "", "/var/opt/mssql/data")


def prepare(recorder: Recorder, *rows: dict[str, Any]) -> None:
    recorder.on("docker", "ps", "--all").say("c1\n")
    recorder.on("docker", "inspect", "--format", "…mounts…").say("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (POSTGRES | {"mounts": [volume(NAMELESS)]}, [Volatile("db", NAMELESS, DATA)]),
        (POSTGRES | {"mounts": []}, [Volatile("db", "", DATA)]),
        (POSTGRES | {"mounts": [{"Type": "tmpfs", "Destination": DATA}]}, []),
        (POSTGRES | {"mounts": [], "tmpfs": {DATA: ""}}, []),
        (POSTGRES | {"mounts": [volume("shop_data")]}, []),
        (POSTGRES | {"mounts": [{"Type": "bind", "Destination": "/var/lib/postgresql"}]}, []),
        # The volume of the image hides the outer mount.
        (
            POSTGRES | {"mounts": [volume(NAMELESS), volume("shop_data", "/var/lib/postgresql")]},
            [Volatile("db", NAMELESS, DATA)],
        ),
        # The data is elsewhere, so the volume of the image stays empty.
        (
            POSTGRES
            | {"env": ["PGDATA=/data/pg"], "mounts": [volume(NAMELESS), volume("own", "/data")]},
            [],
        ),
        (
            {
                "service": "m",
                "image": "docker.io/mysql:8",
                "mounts": [volume(NAMELESS, "/var/lib/mysql")],
            },
            [Volatile("m", NAMELESS, "/var/lib/mysql")],
        ),
        (OTHER | {"image": "localhost:5000/mysql"}, [FOUND]),
        (OTHER | {"image": "mysql@sha256:0123"}, [FOUND]),
        (OTHER | {"image": "localhost:5000/mysql:8@sha256:0123"}, [FOUND]),
        (OTHER | {"image": "shop-db", "declared": {MYSQL: {}}}, [FOUND]),
        (OTHER | {"image": "sha256:0123", "declared": {"/a": {}, MYSQL: {}}}, [FOUND]),
        (OTHER | {"image": "shop-db"}, []),
        (OTHER | {"image": "mcr.microsoft.com/mssql/server:2022", "mounts": []}, [MSSQL]),
        (OTHER | {"image": "bitnami/mysql", "mounts": [volume("own", "/bitnami/mysql")]}, []),
        (OTHER | {"image": "bitnami/mysql", "mounts": [volume("o", "/bitnami/mysql/data")]}, []),
        (
            OTHER
            | {"image": "docker.io/bitnami/postgresql:17", "declared": {"/bitnami/postgresql": {}}}
            | {"mounts": [volume(NAMELESS, "/bitnami/postgresql")]},
            [Volatile("m", NAMELESS, "/bitnami/postgresql")],
        ),
        (
            OTHER | {"image": "shop-db", "env": ["BITNAMI_APP_NAME=mariadb"], "mounts": []},
            [Volatile("m", "", "/bitnami/mariadb/data")],
        ),
        ({"service": "cache", "image": "redis:8", "mounts": [volume(NAMELESS, "/data")]}, []),
        (OTHER | {"image": "bitnami/redis", "env": ["BITNAMI_APP_NAME=redis"]}, []),
        # A backend gets the variables of the database too.
        (OTHER | {"image": "shop", "env": ["MYSQL_PASSWORD=x", "POSTGRES_PASSWORD=x"]}, []),
    ],
)
def test_the_mount_of_the_data_decides(
    row: dict[str, Any], found: list[Volatile], recorder: Recorder
) -> None:
    prepare(recorder, row)

    assert volatile(Gateway(Path()), "shop") == found


def test_down_only_stops_a_database_whose_data_would_be_lost(inv: Inv, recorder: Recorder) -> None:
    prepare(recorder, POSTGRES | {"mounts": [volume(NAMELESS)]})
    recorder.on("ps", "--all", "--format").say(ps_answer(PS_ROW, DB_ROW))

    assert inv("down") == 0

    assert recorder.lines("run") == [f"{DC} rm --stop --force backend", f"{DC} stop db"]
    assert inv.err().endswith(
        "Stopped, but not removed: db. The Compose file names no volume for the data, which would "
        "end with the container.\n  To remove the data too: inv down --volumes\n"
    )


def test_down_ends_what_has_left_the_file_by_id(inv: Inv, recorder: Recorder) -> None:
    prepare(recorder, POSTGRES | {"service": "olddb", "mounts": [volume(NAMELESS)]})
    rows = [{**DB_ROW, "Service": name, "ID": f"id-{name}"} for name in ("olddb", "oldweb")]
    recorder.on("ps", "--all", "--format").say(ps_answer(PS_ROW, DB_ROW, *rows))

    assert inv("down") == 0

    assert recorder.lines("run") == [f"{DC} rm --stop --force backend db"]
    assert recorder.lines("ask")[-2:] == ["docker stop id-olddb id-oldweb", "docker rm id-oldweb"]
    assert "Stopped, but not removed: olddb." in inv.err()


@pytest.mark.usefixtures("postgres")
def test_the_last_snapshot_is_of_the_volume_without_a_name(inv: Inv, recorder: Recorder) -> None:
    prepare(recorder, POSTGRES | {"mounts": [volume(NAMELESS)]})

    assert inv("down", "--volumes", "--yes") == 0

    (started,) = [line for line in recorder.lines("ask") if "run --detach" in line]
    assert started.endswith(f" --volume {NAMELESS}:{DATA} db")


@pytest.mark.usefixtures("postgres")
def test_data_in_no_volume_at_all_is_not_removed(inv: Inv, recorder: Recorder) -> None:
    prepare(recorder, POSTGRES | {"mounts": []})

    assert inv("down", "--volumes", "--yes") == 77

    assert "The data of db is in no volume, but in the container.\n  Save" in inv.err()
    assert not any("down" in argv for argv in recorder.ran)


def test_the_doctor_names_the_database(inv: Inv, recorder: Recorder) -> None:
    prepare(recorder, POSTGRES | {"mounts": [volume(NAMELESS)]})

    inv("doctor")

    assert "data of db" in inv.out()
