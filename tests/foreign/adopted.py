"""A copy of a foreign project, with the two lines that give it the verbs."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.stacks.copies import REMOVE, Copy, Done, plain_environment
from tests.web import Reply, request

PROJECTS = Path(__file__).parent / "projects"

TASKS = "from composed.verbs import *\n\nnamespace = collect(__name__)\n"

MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]
    operations = [migrations.AddField("note", "place", models.TextField(null=True))]
"""

# What a developer keeps out of git who tries the verbs without a word to the team.
EXCLUDED = "tasks.py\n.composed/\ndata/\n"

STACK = "com.docker.compose.project"


@dataclass(frozen=True)
class Foreign:
    """What a reader of a project's own README knows."""

    backend: str = "web"
    notes: str = "notes"  # the folder of the app
    migrates: bool = False  # each start of the backend applies the migrations
    empties: bool = False  # each start of the backend empties the database
    second: str = ""  # a database that Django does not use, so no verb saves its rows
    compose: str = ""  # the folder of the Compose file, after which Compose names the stack


# Adds a note, in the shell of Django.
ADD = """\
from django.apps import apps
apps.get_model("notes", "Note").objects.create(text="Buy milk")
"""

FOREIGN = {
    "tutorial": Foreign(notes="app/notes", migrates=True, empties=True),
    "beside": Foreign(),
    "cookie": Foreign(backend="django", notes="notice_board/notes", migrates=True),
    "modern": Foreign(),
    "monorepo": Foreign("api", "apps/api/notes", second="reports_db", compose="infra"),
}

Adopt = Callable[..., "Adopted"]


@dataclass(repr=False)
class Adopted(Copy):
    """A project in a folder that no other run has; ``inv`` runs there."""

    foreign: Foreign = field(default_factory=Foreign)
    seen: set[str] = field(default_factory=set)  # volumes

    def inv(self, *words: str, text: str = "", **env: str) -> Done:
        if words[0] in ("down", "destroy"):  # nothing leads to their volumes afterwards
            self.seen |= self.volumes()
        return super().inv(*words, text=text, **env)

    def __repr__(self) -> str:
        return self.root.name  # without the whole environment: a failed test prints this

    @property
    def project(self) -> str:
        return str(json.loads(self.ok("ps", "--json"))["project"])

    @property
    def migrates(self) -> bool:
        """Say whether each start applies the migrations: local mode runs no entrypoint."""
        return self.foreign.migrates and self.env["COMPOSED_MODE"] == "docker"

    @property
    def empties(self) -> bool:
        """Say whether each start empties the database."""
        return self.foreign.empties and self.env["COMPOSED_MODE"] == "docker"

    @property
    def url(self) -> str:
        return str(self.ps()[self.foreign.backend]["url"])

    def page(self) -> Reply:
        return request(self.url)

    def sql(self, text: str) -> str:
        return self.ok("dbshell", "--command", text)

    def count(self, rows: str) -> int:
        """Return the number of these rows, as the client of the database shows it."""
        shown = self.sql(f"select count(*) from {rows}")
        (number,) = re.findall(r"^\s*(\d+)\s*$", shown, re.MULTILINE)
        return int(number)

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = self.run("git", *identity, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stacks(self) -> set[str]:
        """Return the names of the stacks on the engine that are called after this folder.

        The engine is asked, not a record of the verbs: what they lost is found, too.
        """
        label = f'{{{{.Label "{STACK}"}}}}'
        names = set()
        for kind in ("ps --all", "volume ls", "network ls"):
            names |= {*self.docker(*kind.split(), "--format", label).splitlines()}
        if images := self.docker("images", "--quiet", "--filter", f"label={STACK}").split():
            label = f'{{{{index .Config.Labels "{STACK}"}}}}'
            names |= {*self.docker("image", "inspect", "--format", label, *images).splitlines()}
        return {name for name in names if name.startswith(self.root.name)}

    def volumes(self) -> set[str]:
        """Return the volumes of all containers; one without a name has no label of a stack."""
        listed = ("ps", "--all", "--quiet", "--filter")
        ids = [self.docker(*listed, f"label={STACK}={stack}").split() for stack in self.stacks()]
        shown = "{{range .Mounts}}{{println .Name}}{{end}}"  # a folder of the machine has none
        inspected = [self.docker("inspect", "--format", shown, *some) for some in ids if some]
        return set("".join(inspected).split())

    def remove(self) -> None:
        """Remove all that the project has: processes, and on the engine by the label."""
        if self.env["COMPOSED_MODE"] == "local":
            self.inv("down")
            return
        volumes = self.seen | self.volumes()
        for stack in self.stacks():
            self.run("sh", "-c", REMOVE, f"label={STACK}={stack}")
        self.docker("volume", "rm", "--force", *volumes)


def write_migration(project: Adopted) -> None:
    """Write a migration as a developer who pulls the work of another: no image is built."""
    folder = project.root / project.foreign.notes / "migrations"
    (folder / "0002_note_place.py").write_text(MIGRATION)


def copy_of(name: str, folder: Path) -> Path:
    """Copy one of ``projects/``; no other run has the name, after which Compose calls a stack."""
    return Path(shutil.copytree(PROJECTS / name, folder / unique(name)))


def written(name: str, files: Mapping[str, str], folder: Path) -> Path:
    """Write a project of these files."""
    root = folder / unique(name)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def with_verbs(root: Path, name: str, mode: str, program: str) -> Adopted:
    """Commit the project as its developers have it, then write ``tasks.py``."""
    foreign = FOREIGN.get(name, Foreign())
    env = plain_environment(root.parent) | {"COMPOSED_MODE": mode}
    if foreign.compose:
        env["COMPOSE_PROJECT_NAME"] = root.name
    adopted = Adopted(root, env, program, foreign)
    adopted.git("init", "--quiet")
    adopted.git("add", "--all")
    adopted.git("commit", "--quiet", "--message", "all")
    (root / "tasks.py").write_text(TASKS)
    (root / ".git/info/exclude").write_text(EXCLUDED)
    return adopted
