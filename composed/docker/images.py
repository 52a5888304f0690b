"""The recipe of the images: a hash of the files they are built from, kept in a label."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from composed.docker.model import Build, ComposeService, Model
from composed.findings import Finding
from composed.gateway import Gateway
from composed.project import text_of

LABEL = "composed.built-from"
# The Compose file hands it on: build.labels: {composed.built-from: ${COMPOSED_BUILT_FROM:-}}
VARIABLE = "COMPOSED_BUILT_FROM"


class Recipe(NamedTuple):
    """The files that images are built from, by name; their hash; the image of each service."""

    files: Mapping[str, Path]
    hash: str
    images: Mapping[str, str]

    @property
    def label(self) -> dict[str, str]:
        """The environment in which Compose labels the images that are built."""
        return {VARIABLE: self.hash} if self.images else {}

    def __str__(self) -> str:
        names = [file.name for file in self.files.values()]
        return ", ".join(names) if len(names) < 4 else f"the {len(names)} files it is built from"


def recipe(model: Model) -> Recipe:
    """Return the recipe of the images that are built with the label :data:`LABEL`."""
    import hashlib  # noqa: PLC0415  # `inv ps` has no use for it

    files: dict[str, Path] = {}
    images, digest = {}, hashlib.sha256()
    for service in model.services.values():
        if service.build and LABEL in service.build.labels:
            images[service.name] = model.image(service)
            files |= dict(_sources(service, service.build))
    for name, file in files.items():
        content, runs = file.read_bytes(), os.access(file, os.X_OK)
        digest.update(f"{name}\0{runs:d}\0{len(content)}\0".encode())
        digest.update(content)
    return Recipe(files, digest.hexdigest()[:16], images)


def stale(gateway: Gateway, current: Recipe) -> list[str]:
    """Return the services with an existing image that was built with another recipe."""
    if not current.images:
        return []
    question = ["docker", "image", "inspect", "--format", "json", *current.images.values()]
    # With an image missing, the answer still has the images that exist.
    labels = {
        tag.removesuffix(":latest"): (image["Config"].get("Labels") or {}).get(LABEL)
        for image in json.loads(gateway.ask(question).out or "[]")
        for tag in image["RepoTags"]
    }
    hash_ = current.hash
    return [service for service, name in current.images.items() if labels.get(name, hash_) != hash_]


def stale_rows(gateway: Gateway, current: Recipe) -> list[Finding]:
    """Return a finding for each image that is built here."""
    old = stale(gateway, current)
    return [
        Finding(f"image of {service}", "warning", f"does not fit {current}", "inv up")
        if service in old
        else Finding(f"image of {service}", "ok", "fits its files, or is not built yet")
        for service in current.images
    ]


def _sources(service: ComposeService, build: Build) -> Iterator[tuple[str, Path]]:
    """Yield Dockerfile and build context; of a mounted context, only files the Dockerfile names."""
    context, dockerfile = build.context, build.dockerfile
    if not dockerfile.is_file():
        return  # a Git repository, for example
    yield dockerfile.name, dockerfile
    mounted = any(mount.source == str(context) for mount in service.mounts)
    words = set(re.split(r"[\s=,]+", text_of(dockerfile)))
    for file in _context(context):
        name = str(file.relative_to(context))
        if file != dockerfile and (not mounted or name in words):
            yield f"{context.name}/{name}", file


def _context(context: Path) -> list[Path]:
    """Return the files of a build context without those that ``.dockerignore`` names, sorted."""
    ignore = context / ".dockerignore"
    lines = text_of(ignore).splitlines()
    rules = [_rule(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    files = []
    for folder, folders, names in os.walk(context):
        if all(leaves_out for leaves_out, _ in rules):  # a virtual environment is big
            folders[:] = [name for name in folders if _is_sent(Path(folder, name), context, rules)]
        paths = [Path(folder, name) for name in names]
        files += [path for path in paths if _is_sent(path, context, rules)]
    return sorted(file for file in files if file.is_file() and os.access(file, os.R_OK))


def _is_sent(path: Path, context: Path, rules: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    """Return whether a build gets the path; of the rules that match, the last decides."""
    name = str(path.relative_to(context))
    return not next((out for out, pattern in reversed(rules) if pattern.match(name)), False)


def _rule(line: str) -> tuple[bool, re.Pattern[str]]:
    """Return whether a line of ``.dockerignore`` leaves paths out, and the pattern of the paths."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", line.lstrip("!").strip("/"))
    text = "".join(words.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts)
    return not line.startswith("!"), re.compile(f"{text}(?:/.*)?$")
