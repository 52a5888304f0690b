"""The Dockerfile of a service, as far as its text alone tells how the container starts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from composed.project import text_of

_INSTRUCTION = re.compile(r"^\s*([A-Za-z]+)\s+(.*?)\s*$")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_ASSIGNMENT = re.compile(r"""(\w+)=("[^"]*"|'[^']*'|\S*)""")
# The words of an instruction or a command, as a list of JSON or as a shell writes the words.
WORD = re.compile(r"""[^\s"',\[\]]+""")


def inside(folder: str, path: str) -> str:
    """Return a path of a container, seen from a folder of it, without any ``..``."""
    return posixpath.normpath(posixpath.join(folder, path))


class Instruction(NamedTuple):
    """An instruction in capital letters, and the rest of the line with its variables replaced."""

    name: str
    rest: str


class Dockerfile:
    """The instructions of a stage and of the stages that this stage starts from, in this order.

    Without ``target`` the last stage counts, as in ``docker build``.
    """

    def __init__(self, text: str, target: str = "") -> None:
        lines = re.sub(r"(?m)^\s*#.*\n?", "", text)
        lines = re.sub(r"\\[ \t]*\n", " ", lines)
        found = (_INSTRUCTION.match(line) for line in lines.splitlines())
        instructions = [Instruction(m[1].upper(), m[2]) for m in found if m]
        self.images = _images(instructions)
        self.instructions = _stage(instructions, target.lower())

    @classmethod
    def at(cls, file: Path, target: str = "") -> Dockerfile:
        """Read the file; a remote or missing file has no instructions."""
        return cls(text_of(file) if file.is_file() else "", target)

    @property
    def entrypoint(self) -> str:
        """The last ENTRYPOINT, as written."""
        return self._last("ENTRYPOINT")

    @property
    def command(self) -> str:
        """The last CMD, as written."""
        return self._last("CMD")

    @property
    def user(self) -> str:
        """The last USER, as written; "" where only the base image knows."""
        return self._last("USER").strip("\"'")

    @property
    def workdir(self) -> str:
        """The folder in which the container starts; "" where only the base image knows."""
        return next((folder for folder, _ in reversed([*self._in_folders()])), "")

    def copies(self, path: str) -> list[str]:
        """Return where COPY and ADD put a path of the build context, the last place last."""
        if ".." in PurePosixPath(path).parts:  # outside of the build context
            return []
        return [
            str(PurePosixPath(target) / PurePosixPath(path).relative_to(source))
            for source, target in self._copied()
            if PurePosixPath(path).is_relative_to(source)
        ]

    def sources(self, path: str) -> list[str]:
        """Return the paths of the build context that an image may have at a path, likeliest first.

        Whether COPY copies a folder or a file is not known from the text.
        """
        wanted, found = PurePosixPath(inside("/", path)), []
        for source, target in self._copied():
            if wanted.is_relative_to(target):
                found.append(str(source / wanted.relative_to(target)))
            if wanted == PurePosixPath(target, source.name):
                found.append(str(source))
        return found[::-1]

    def _copied(self) -> Iterator[tuple[PurePosixPath, str]]:
        """Yield each source in the build context with the target in the image."""
        for folder, (name, rest) in self._in_folders():
            words = [word for word in WORD.findall(rest) if not word.startswith("--")]
            if name in ("COPY", "ADD") and "--from=" not in rest and len(words) > 1:
                target = inside(folder, words[-1])
                yield from ((PurePosixPath(_plain(word)), target) for word in words[:-1])

    def _last(self, name: str) -> str:
        return next((i.rest for i in reversed(self.instructions) if i.name == name), "")

    def _in_folders(self) -> Iterator[tuple[str, Instruction]]:
        """Yield each instruction with the folder after it."""
        folder = ""
        for instruction in self.instructions:
            if instruction.name == "WORKDIR":
                folder = inside(folder or "/", instruction.rest.strip("\"'"))
            yield folder, instruction


def _images(instructions: Sequence[Instruction]) -> list[str]:
    """Return the images that the stages start from, as written."""
    stages, images = {"scratch"}, []
    for image, stage in (_from(i) for i in instructions if i.name == "FROM"):
        images += [image] if image.lower() not in stages else []
        stages.add(stage)
    return images


def _from(instruction: Instruction) -> tuple[str, str]:
    """Return the image of a FROM, and the name of the stage in small letters or ""."""
    image, *more = [word for word in instruction.rest.split() if not word.startswith("--")] or [""]
    return image, (more[1].lower() if len(more) > 1 else "")


def _stage(instructions: Sequence[Instruction], target: str) -> list[Instruction]:
    stages: dict[str, list[Instruction]] = {}
    variables: dict[str, str] = {}
    name = ""
    for instruction in instructions:
        rest = _with(variables, instruction.rest)
        if instruction.name == "FROM":
            base, name = _from(Instruction("FROM", rest))
            name = name or f"{len(stages)}"
            stages[name] = [*stages.get(base.lower(), ())]
        elif instruction.name in ("ARG", "ENV"):
            given = _ASSIGNMENT.findall(rest) or [rest.split(None, 1)] * (len(rest.split()) > 1)
            variables |= {key: value.strip("\"'") for key, value in given}
        else:
            stages.setdefault(name, []).append(Instruction(instruction.name, rest))
    return stages.get(target) or stages.get(name, [])


def _with(variables: Mapping[str, str], text: str) -> str:
    return _VARIABLE.sub(lambda m: variables.get(m[1] or m[3], m[2] or m[0]), text)


def _plain(path: str) -> str:
    """Return a source of COPY as a path from the build context: ``./app/`` is ``app``.

    The context is the top: no ``..`` leads out of it.
    """
    return inside("/", path.lstrip("/")).lstrip("/") or "."
