"""The reasons why an image cannot be pulled, each with our words for Docker's."""

from pathlib import Path

import pytest

from composed.docker.model import Model
from composed.docker.pulls import BUILD_FAILED, PULL_FAILED, pull_problem
from composed.gateway import Gateway
from tests.recorder import Recorder

GATEWAY = Gateway(Path())
MODEL = Model({"services": {"db": {"image": "postgres:15"}, "backend": {"build": {}}}})
DAEMON = "Error response from daemon: "


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("toomanyrequests: You have reached your pull rate limit.", "its registry's limit is "),
        ("denied", "its registry refuses access, or has no such image"),
        ("unauthorized: authentication required", "its registry refuses access, or has "),
        ("pull access denied for x, repository does not exist", "its registry refuses access"),
        ("manifest unknown", "there is no such image"),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', "its registry cannot be reached"),
        ("failed to register layer: write /x: no space left on device", "the disk is full"),
    ],
)
def test_each_reason_is_translated(reason: str, words: str, recorder: Recorder) -> None:
    recorder.on("docker", "pull", "--quiet", "postgres:15").say(code=1, err=f"{DAEMON}{reason}\n")
    recorder.on("image", "inspect").say(code=1)

    error = pull_problem(GATEWAY, MODEL, PULL_FAILED)

    assert error
    assert error.code == 69
    assert str(error).startswith(f"The image postgres:15 cannot be pulled: {words}")
    assert reason in str(error)


def test_an_unknown_reason_is_shown_unchanged(recorder: Recorder) -> None:
    recorder.on("docker", "pull").say(code=1, err="odd\n")
    recorder.on("image", "inspect").say(code=1)

    assert str(pull_problem(GATEWAY, MODEL, PULL_FAILED)) == (
        "The image postgres:15 cannot be pulled.\n  odd"
    )


def test_an_image_that_exists_or_can_be_pulled_now_is_no_problem(recorder: Recorder) -> None:
    assert pull_problem(GATEWAY, MODEL, PULL_FAILED) is None
    recorder.on("image", "inspect").say(code=1)
    assert pull_problem(GATEWAY, MODEL, PULL_FAILED) is None
    assert pull_problem(GATEWAY, MODEL, 1) is None


def test_a_build_asks_the_registry_for_base_images_only(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM --platform=linux/amd64 one:1 AS a\nFROM a AS b\nFROM scratch\nFROM $X\nfrom two:2\n"
    )
    backend = {"build": {"context": str(tmp_path)}}
    model = Model({"services": {"backend": backend, "db": {"image": "x"}}})
    recorder.on("manifest", "inspect", "two:2").say(code=1, err="no such manifest: two:2")
    recorder.on("image", "inspect").say(code=1)

    error = pull_problem(GATEWAY, model, BUILD_FAILED)

    assert str(error).startswith("The image two:2 cannot be pulled: there is no such image.")
    asked = [argv[-1] for argv in recorder.asked if "manifest" in argv]
    assert asked == ["one:1", "two:2"]


def test_base_images_are_not_asked_for_where_the_engine_uses_a_mirror(recorder: Recorder) -> None:
    recorder.on("docker", "info").say("[https://mirror/]")

    assert pull_problem(GATEWAY, MODEL, BUILD_FAILED) is None
    assert len(recorder.asked) == 1
