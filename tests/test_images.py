"""A stale image: the label has the hash of another recipe."""

import json
from pathlib import Path
from typing import Any

import pytest

from composed.docker.images import LABEL, Recipe, recipe, stale
from composed.docker.model import Model
from composed.gateway import Answer, Gateway
from tests.recorder import Recorder
from tests.samples import Inv

FILES = {"Dockerfile", "lock.txt", "views.py", "pages/a.html", "pages/cache/x", "run.log"}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    context = tmp_path / "app"
    (context / "pages" / "cache").mkdir(parents=True)
    for name in FILES:
        (context / name).write_text(name)
    (context / "Dockerfile").write_text("RUN --mount=source=lock.txt,target=/t pip\nCOPY . .\n")
    return context


def model(context: Path, **service: Any) -> dict[str, Any]:
    build = {"context": str(context), "labels": {LABEL: ""}}
    return {"name": "shop", "services": {"web": {"build": build, **service}, "db": {}}}


def recipe_of(context: Path, **service: Any) -> Recipe:
    return recipe(Model(model(context, **service)))


def names(context: Path, **service: Any) -> set[str]:
    files = recipe_of(context, **service).files.values()
    return {str(file.relative_to(context)) for file in files}


def test_a_built_image_counts_the_whole_context(context: Path) -> None:
    assert names(context) == FILES


@pytest.mark.parametrize(
    ("ignored", "left_out"),
    [
        ("*.log", {"run.log"}),
        ("# *.log\n\nviews.py", {"views.py"}),
        ("pages", {"pages/a.html", "pages/cache/x"}),
        ("**/cache", {"pages/cache/x"}),
        ("pages/*/x", {"pages/cache/x"}),
        ("**/[ax]*", {"pages/a.html", "pages/cache/x"}),
        ("view?.py", {"views.py"}),
        ("pages\n!pages/a.html", {"pages/cache/x"}),
        ("/views.py", {"views.py"}),
    ],
)
def test_dockerignore_keeps_files_out(context: Path, ignored: str, left_out: set[str]) -> None:
    (context / ".dockerignore").write_text(ignored)

    assert FILES - names(context) == left_out


def test_under_a_mount_only_files_that_the_dockerfile_names_count(context: Path) -> None:
    mounted = [{"type": "bind", "source": str(context), "target": "/app"}]

    assert names(context, volumes=mounted) == {"Dockerfile", "lock.txt"}


def test_content_name_and_run_bit_change_the_hash(context: Path) -> None:
    hashes = {recipe_of(context).hash}
    for change in (
        lambda: (context / "views.py").write_text("more"),
        lambda: (context / "views.py").rename(context / "other.py"),
        lambda: (context / "other.py").chmod(0o755),
    ):
        change()
        hashes.add(recipe_of(context).hash)

    assert len(hashes) == 4


@pytest.mark.parametrize(
    "unlike", [{}, {"services": {"web": {"build": {"context": "."}}}}, {"services": {"db": {}}}]
)
def test_an_image_without_our_label_has_no_recipe(unlike: dict[str, Any]) -> None:
    assert not recipe(Model(unlike)).images
    assert recipe(Model(unlike)).label == {}


def test_the_context_of_a_git_repository_has_no_files() -> None:
    assert recipe_of(Path("https://example.org/x.git")).files == {}


def inspected(tag: str, label: str | None) -> Answer:
    labels = None if label is None else {LABEL: label}
    return Answer(1, json.dumps([{"RepoTags": [tag], "Config": {"Labels": labels}}]), "No such …")


@pytest.mark.parametrize(
    ("label", "services"), [("HASH", []), ("other", ["web"]), ("", ["web"]), (None, ["web"])]
)
def test_an_image_with_another_label_is_stale(
    context: Path, recorder: Recorder, label: str | None, services: list[str]
) -> None:
    current = recipe_of(context)
    label = current.hash if label == "HASH" else label
    recorder.on("image", "inspect").give(inspected("shop-web:latest", label))

    assert stale(Gateway(context), current) == services


def test_a_missing_image_is_not_stale(context: Path, recorder: Recorder) -> None:
    recorder.on("image", "inspect").say("[]", code=1, err="No such image")

    assert stale(Gateway(context), recipe_of(context, image="shop/web:1")) == []


@pytest.mark.parametrize(
    ("words", "option", "message"),
    [
        ("up", "--build", "does not fit Dockerfile"),
        ("up --no-build", "--no-build", "left as it is (--no-build)"),
        ("up --build", "--build", ""),
    ],
)
def test_up_builds_a_stale_image_anew(
    words: str, option: str, message: str, context: Path, inv: Inv, recorder: Recorder
) -> None:
    with_backend = model(context)
    with_backend["services"]["backend"] = {}
    recorder.on("config", "--format").say(json.dumps(with_backend))
    recorder.on("image", "inspect").give(inspected("shop-web:latest", "old"))
    (context / ".dockerignore").write_text("*\n!Dockerfile")

    assert inv(*words.split()) == 0

    assert recorder.ran[0][-1] == option
    assert recorder.of("run")[0].env == recipe_of(context).label
    err = inv.err()
    assert message in err if message else err == ""
