"""The model of Compose: services, ports and settings, in every form that Compose prints."""

import json
from pathlib import Path

import pytest

from composed.docker.model import Build, ComposeService, Model, Mount, Port, setting_of
from composed.errors import SettingError
from composed.ports.published import Published


def services(**services: object) -> Model:
    return Model({"services": services})


def web(**about: object) -> ComposeService:
    """Return the service ``web`` of a model."""
    return services(web=about).service("web")


def in_web(**about: object) -> object:
    return {"services": {"web": about}}


# --- shapes ------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, {}, {"services": None}, {"services": {"db": {}}}])
def test_missing_keys_are_empty(data: object) -> None:
    model = Model(data)

    assert model.service("web") == ComposeService("web")
    assert (model.name, model.volumes, model.published()) == ("", {}, [])


def test_a_service_without_keys_is_empty() -> None:
    keys = ("image", "build", "command", "environment", "volumes", "ports", "depends_on")

    empty = ComposeService("web", mounts=[], ports=[], depends_on=[], awaits=[], aliases=[])
    assert web() == web(**dict.fromkeys(keys)) == empty


@pytest.mark.parametrize(
    ("data", "place", "kind", "wanted"),
    [
        ([], "the top level", "a list", "a mapping"),
        ({"services": "web"}, "services", "a single value", "a mapping"),
        ({"volumes": {"data": "x"}}, "volumes.data", "a single value", "a mapping"),
        ({"services": {"web": 5}}, "services.web", "a single value", "a mapping"),
        (in_web(image={}), "services.web.image", "a mapping", "a single value"),
        (in_web(build=[]), "services.web.build", "a list", "a mapping"),
        (in_web(command={}), "services.web.command", "a mapping", "a single value"),
        (in_web(environment="secret"), "services.web.environment", "a single value", "a mapping"),
        (in_web(environment={"A": []}), "services.web.environment.A", "a list", "a single value"),
        (in_web(volumes=[1]), "services.web.volumes", "a single value", "a mapping"),
        (in_web(ports="80"), "services.web.ports", "a single value", "a list"),
        (in_web(ports=[[]]), "services.web.ports", "a list", "a single value"),
        (in_web(depends_on="db"), "services.web.depends_on", "a single value", "a mapping"),
    ],
)
def test_a_wrong_shape_is_named_not_shown(data: object, place: str, kind: str, wanted: str) -> None:
    with pytest.raises(SettingError) as raised:
        Model(data)

    assert str(raised.value) == (
        f"In the Compose model, {place} is {kind} instead of {wanted}.\n"
        "  See the model: inv dc -- config"
    )


@pytest.mark.parametrize("text", ["", "warning: x\n{}", "{"])
def test_a_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="docker compose config printed no JSON"):
        Model.resolved(text)


def test_only_a_resolved_model_doubles_each_dollar() -> None:
    text = json.dumps({"services": {"web": {"image": "a$$b", "environment": {"A": "$$$$c"}}}})
    resolved, written = Model.resolved(text).service("web"), Model.written(text).service("web")

    assert (resolved.image, resolved.environment) == ("a$b", {"A": "$$c"})
    assert (written.image, written.environment) == ("a$$b", {"A": "$$$$c"})


# --- a service ---------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [{"A": "x=y", "B": "", "C": None, "D": True, "E": 1}, ["A=x=y", "B=", "C", "D=true", "E=1"]],
)
def test_an_environment_is_a_map_or_a_list(environment: object) -> None:
    assert web(environment=environment).environment == {"A": "x=y", "B": "", "D": "true", "E": "1"}


@pytest.mark.parametrize(
    ("build", "dockerfile", "labels"),
    [
        ("/app", "/app/Dockerfile", {}),
        ({"context": "/app", "dockerfile": "dev", "labels": {"a": "b"}}, "/app/dev", {"a": "b"}),
        ({"context": "/app", "dockerfile": "/dev", "labels": ["a=b"]}, "/dev", {"a": "b"}),
    ],
)
def test_a_build_has_a_dockerfile(build: object, dockerfile: str, labels: dict[str, str]) -> None:
    assert web(build=build).build == Build(Path("/app"), Path(dockerfile), labels)


@pytest.mark.parametrize("command", ["gunicorn shop.wsgi", ["gunicorn", "shop.wsgi"]])
def test_a_command_is_a_text_or_a_list(command: object) -> None:
    assert web(command=command).command == "gunicorn shop.wsgi"


@pytest.mark.parametrize(
    ("entry", "mount"),
    [
        ({"type": "volume", "source": "data", "target": "/x"}, ("volume", "data", "/x", "shop_d")),
        ({"type": "bind", "source": "data", "target": "/x"}, ("bind", "data", "/x", "")),
        ({"type": "volume", "target": "/x"}, ("volume", "", "/x", "")),
        ({"type": "volume", "source": "other", "target": "/x"}, ("volume", "other", "/x", "")),
        ("data:/x:ro", ("volume", "data", "/x", "shop_d")),
        ("data:${MOUNT:-/x}", ("volume", "data", "${MOUNT:-/x}", "shop_d")),
        ("./app:/x", ("bind", "./app", "/x", "")),
        ("/x", ("volume", "", "/x", "")),
        ("", ("volume", "", "", "")),
    ],
)
def test_a_mount_names_the_volume_on_the_engine(entry: object, mount: tuple[str, ...]) -> None:
    data = {"services": {"web": {"volumes": [entry]}}, "volumes": {"data": {"name": "shop_d"}}}

    assert Model(data).service("web").mounts == [Mount(*mount)]


def test_a_volume_may_be_external() -> None:
    model = Model({"volumes": {"a": None, "b": {"name": "shop_b", "external": True}}})

    assert model.volumes == {"a": ("", False), "b": ("shop_b", True)}


# --- ports -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "port"),
    [
        (80, ("", "", "tcp", "80")),
        ("80", ("", "", "tcp", "80")),
        ("8000:80", ("8000", "", "tcp", "80")),
        ("53:53/udp", ("53", "", "udp", "53")),
        ("127.0.0.1:8000:80", ("8000", "127.0.0.1", "tcp", "80")),
        ("[::1]:8000:80", ("8000", "::1", "tcp", "80")),
        ("${WEB_PORT:-8000}:80", ("${WEB_PORT:-8000}", "", "tcp", "80")),
        ("${HOST:-[::1]}:${PORT}:80", ("${PORT}", "${HOST:-[::1]}", "tcp", "80")),
        ("", ("", "", "tcp")),
        ({"target": 80}, ("", "", "tcp", "80")),
        ({"target": 80, "published": 8000}, ("8000", "", "tcp", "80")),
        ({"published": "8", "host_ip": "::1", "protocol": "udp"}, ("8", "::1", "udp")),
    ],
)
def test_a_port_has_a_short_and_a_long_form(entry: object, port: tuple[str, ...]) -> None:
    assert web(ports=[entry]).ports == [Port(*port)]


def test_only_fixed_tcp_ports_are_published() -> None:
    model = services(
        web={"ports": [{"published": "8000", "host_ip": "127.0.0.1"}]},
        any={"ports": [{"published": "0"}, {"target": 5}, {"published": "1-2"}]},
        open={"ports": [{"published": "80", "protocol": "tcp"}]},
        udp={"ports": [{"published": "53", "protocol": "udp"}]},
        none={},
    )

    assert model.published() == [("web", "127.0.0.1", 8000), ("open", "0.0.0.0", 80)]


@pytest.mark.parametrize("needs", [["db"], {"db": {"condition": "service_healthy"}}])
def test_the_dependencies_of_a_service_publish_ports_too(needs: object) -> None:
    model = services(
        web={"depends_on": needs},
        db={"ports": ["5432:5432"], "depends_on": ["web", "left out of the model"]},
        other={"ports": ["80:80"]},
    )

    assert model.published(["web", "unknown"]) == [Published("db", "0.0.0.0", 5432)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("${NAME}", "NAME"),
        ("$NAME", "NAME"),
        ("${NAME:-x}", "NAME"),
        ("${NAME:?type inv env}", "NAME"),
        ("${NAME", "NAME"),  # Compose 2.26 cuts a mount short at a colon
        ("${NAME:-${OTHER}_x}", "NAME"),
        ("$$$NAME", "NAME"),
        ("$$NAME", ""),
        ("fixed-${NAME}", ""),
        ("", ""),
    ],
)
def test_a_text_comes_from_the_setting_that_starts_the_text(text: str, name: str) -> None:
    assert setting_of(text) == name


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("127.0.0.1:${WEB_PORT:-8000}:80", "WEB_PORT"),
        ("${WEB_PORT-8000}:80", "WEB_PORT"),
        ("127.0.0.1:$SET:80", "SET"),
        ("${HOST:-127.0.0.1}:${SET}:80", "SET"),
        ("${EMPTY:-8000}:80", "EMPTY"),
        ({"published": "${WEB_PORT:-8000}", "target": 80}, "WEB_PORT"),
        ("8000:80", ""),
        ("$$SET:80", ""),
        ("${WHERE}:80", ""),  # an address and a port: no port to choose
        ("${WEB_PORT:-9000}:80", ""),
        ({"target": 80}, ""),
    ],
)
def test_a_port_comes_from_the_setting_with_the_same_number(entry: object, name: str) -> None:
    values = {"SET": "8000", "EMPTY": "", "WHERE": "127.0.0.1:8000"}
    port = Published("web", "127.0.0.1", 8000)

    assert services(web={"ports": [entry]}).setting_of_port(port, values) == name


def test_an_unknown_service_has_no_setting() -> None:
    assert Model({}).setting_of_port(Published("web", "127.0.0.1", 8000), {}) == ""
