"""The form of an env file: its lines, its encoding, who may read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dotenv.parser import Binding

from composed.env.settings import bindings, line_number
from composed.findings import Finding
from composed.gateway import Gateway

__all__ = ["check_form", "is_usable"]


def is_usable(name: str) -> bool:
    """Say whether a Compose file can name the setting: ``${NAME}``."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII))


def check_form(gateway: Gateway, file: Path, text: str) -> list[Finding]:
    """Return what is wrong with a file that has this text, or one row that nothing is."""
    found = [*_lines(file.name, bindings(text)), *_raw(file), *_privacy(gateway, file)]
    return found or [Finding(file.name, "ok", "well-formed, private")]


def _lines(file: str, lines: Sequence[Binding]) -> Iterator[Finding]:
    """Return a row for each line that sets nothing, and for each name set twice."""
    first: dict[str, int] = {}
    for line in lines:
        key, number = line.key, line_number(line)
        at = f"{file}, line {number}"
        if line.error:
            yield Finding(at, "wrong", "malformed: no assignment", "Write it as NAME=value")
        elif key and line.value is None:
            yield Finding(
                at, "warning", f"malformed: {key} without = sets nothing", f"Write {key}=…"
            )
        elif key and key in first:
            seen = f"{key} stands in line {first[key]} too; the last one counts"
            yield Finding(at, "warning", seen, "Remove one of them")
        if key:
            first.setdefault(key, number)
            if not is_usable(key):
                seen = f"malformed: no Compose file can name {key!r}"
                yield Finding(at, "warning", seen, "Use letters, digits and _")


def _raw(file: Path) -> Iterator[Finding]:
    """Return a row for what Windows adds to a text, which a shell that reads it keeps."""
    data = file.read_bytes()
    if data.startswith(b"\xef\xbb\xbf"):
        yield Finding(file.name, "warning", "begins with a byte order mark", "Save as plain UTF-8")
    if b"\r" in data:
        seen = "lines end with a carriage return (CRLF)"
        yield Finding(file.name, "warning", seen, f"sed -i 's/\\r$//' {file.name}")


def _privacy(gateway: Gateway, file: Path) -> Iterator[Finding]:
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(file.name, "warning", f"readable by others: {mode:04o}", f"chmod 600 {file}")
    words = ("--cached", "--others", "--exclude-standard", "-t", "--", str(file))
    status = gateway.ask(["git", "ls-files", *words])  # nothing without git or a repository
    if status.out.startswith("?"):
        cure = f"echo {file.name} >> .gitignore"
        yield Finding(file.name, "warning", "git does not ignore it", cure)
    elif status.out:
        cure = f"git rm --cached {file.name}, then change its secrets"
        yield Finding(file.name, "wrong", "tracked by git, with its secrets", cure)
