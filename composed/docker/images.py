"""Whether images were built from the files as they are now: a label holds those files' hash."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from composed.docker.model import Build, ComposeService, Model
from composed.findings import Finding
from composed.gateway import Gateway

__all__ = ["LABEL", "VARIABLE", "Recipe", "recipe", "stale", "stale_rows"]

LABEL = "composed.built-from"
# The Compose file hands it on: build.labels: {composed.built-from: ${COMPOSED_BUILT_FROM:-}}
VARIABLE = "COMPOSED_BUILT_FROM"


class Recipe(NamedTuple):
    """The files that the images of the project are built from, their hash, an image a service."""

    files: Mapping[str, Path] = {}
    hash: str = ""
    images: Mapping[str, str] = {}

    @property
    def label(self) -> dict[str, str]:
        """The environment in which Compose labels what it builds."""
        return {VARIABLE: self.hash} if self.images else {}

    def __str__(self) -> str:
        """Return the files' names, or how many they are."""
        names = [file.name for file in self.files.values()]
        return ", ".join(names) if len(names) < 4 else f"the {len(names)} files it is built from"


def recipe(model: Model) -> Recipe:
    """Return the recipe of the images that are built with the label :data:`LABEL`."""
    builds = [
        (service, service.build)
        for service in model.services.values()
        if service.build and LABEL in service.build.labels
    ]
    files = {name: file for built in builds for name, file in _sources(*built)}
    images = {
        service.name: service.image or f"{model.name}-{service.name}" for service, _ in builds
    }
    return Recipe(files, _hash(files), images)


def stale(gateway: Gateway, now: Recipe) -> list[str]:
    """Return the services whose image is there and was built from something else."""
    if not now.images:
        return []
    asked = ["docker", "image", "inspect", "--format", "json", *now.images.values()]
    # One image is missing, and the others are answered all the same.
    found = json.loads(gateway.ask(asked).out or "[]")
    was = {
        tag.removesuffix(":latest"): (about["Config"].get("Labels") or {}).get(LABEL)
        for about in found
        for tag in about["RepoTags"]
    }
    return [service for service, name in now.images.items() if was.get(name, now.hash) != now.hash]


def stale_rows(gateway: Gateway, now: Recipe) -> list[Finding]:
    """Return a row for each image that is built here."""
    old = stale(gateway, now)
    return [
        Finding(f"image of {service}", "warning", f"does not fit {now}", "inv up")
        if service in old
        else Finding(f"image of {service}", "ok", "fits its files, or is not built yet")
        for service in now.images
    ]


def _sources(service: ComposeService, build: Build) -> Iterator[tuple[str, Path]]:
    """Yield the Dockerfile and the files of the build context that count.

    All of them count, unless the context is mounted over the image's copy: then only
    the files that the Dockerfile names, such as a lock.
    """
    context, dockerfile = build.context, build.dockerfile
    if not dockerfile.is_file():
        return  # a Git repository, for example
    yield dockerfile.name, dockerfile
    mounted = any(mount.source == str(context) for mount in service.mounts)
    words = set(re.split(r"[\s=,]+", build.text()))
    for file in _context(context):
        name = str(file.relative_to(context))
        if file != dockerfile and (not mounted or name in words):
            yield f"{context.name}/{name}", file


def _context(context: Path) -> list[Path]:
    """Return the files that a build is sent, in order; ``.dockerignore`` keeps the others out."""
    ignore = context / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    rules = [_rule(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    found = []
    for folder, folders, names in os.walk(context):
        if all(out for out, _ in rules):  # nothing is let in again: a virtual environment is big
            folders[:] = [f for f in folders if not _is_ignored(f"{folder}/{f}", context, rules)]
        found += [
            Path(folder, f) for f in names if not _is_ignored(f"{folder}/{f}", context, rules)
        ]
    return sorted(file for file in found if file.is_file() and os.access(file, os.R_OK))


def _is_ignored(file: str, context: Path, rules: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    """Say what the last rule that matches says, as Docker has it."""
    path = os.path.relpath(file, context)
    return next((out for out, pattern in reversed(rules) if pattern.match(path)), False)


def _rule(line: str) -> tuple[bool, re.Pattern[str]]:
    """Return whether a line of ``.dockerignore`` leaves out, and what; a folder with its files."""
    out = not line.startswith("!")
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", line.lstrip("!").strip("/"))
    text = "".join(words.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts)
    return out, re.compile(f"{text}(?:/.*)?$")


def _hash(files: Mapping[str, Path]) -> str:
    """Return a hash of the files' names, run bits and contents."""
    import hashlib  # noqa: PLC0415  # `inv ps` has no use for it

    digest = hashlib.sha256()
    for name, file in files.items():
        content, runs = file.read_bytes(), os.access(file, os.X_OK)
        digest.update(f"{name}\0{runs:d}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
