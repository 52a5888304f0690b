"""Makes and completes ``.env``: project name, uid and gid, secrets; never overwrites."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from composed.env.settings import assignments, example_of, generated_names, read_text
from composed.errors import RefusedError
from composed.project import Project

__all__ = ["complete_env", "generated", "project_name", "set_value", "with_value", "write_env"]


def generated(project: Project, *, rootless: bool) -> dict[str, str]:
    """Return a fresh value for every setting that may have to be generated.

    ``backend`` runs as the owner of the source, so that files made in it are
    theirs: as 1000 where that is root, and on a rootless engine as 0, which is
    the caller.
    """
    owner = project.owner
    uid, gid = (owner.st_uid, owner.st_gid) if owner.st_uid else (1000, 1000)
    if rootless:
        uid, gid = 0, 0
    names = {"COMPOSE_PROJECT_NAME": project_name(project.root)}
    ids = {"APP_UID": str(uid), "APP_GID": str(gid)}
    # Compose and python-dotenv read `$`, `#` and quotes differently; token_urlsafe has none.
    return names | ids | {name: secrets.token_urlsafe(48) for name in project.secrets}


def project_name(root: Path) -> str:
    """Return a Compose project name for the folder: its name, and a hash of its path.

    Compose takes ``[a-z0-9][a-z0-9_-]*``; the hash keeps two folders of the same
    name apart.
    """
    plain = unicodedata.normalize("NFKD", root.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_") or "stack"
    return f"{name}-{hashlib.sha256(str(root).encode()).hexdigest()[:6]}"


def complete_env(
    project: Project, file: Path, make: Callable[[], Mapping[str, str]]
) -> tuple[str, list[str]]:
    """Return the text that ``file`` should have, and the names that had no value yet.

    A file that is not there starts as ``.env.example``, or empty without one.
    ``make`` gives the values and is called only when some are needed.
    """
    is_there = file.exists() or Path(os.path.realpath(file)).is_symlink()  # to itself, then
    start = file if is_there else project.example
    text = read_text(start) if is_there or start.exists() else ""
    present = assignments(text, file.name)
    names = generated_names(project, example_of(project))
    lacking = [name for name in names if not present.get(name)]
    values = make() if lacking else {}
    for name in lacking:
        text = set_value(text, name, f"{name}={values[name]}")
    return text, lacking


def write_env(file: Path, text: str) -> bool:
    """Write ``file`` whole or not at all, for its owner alone (0600); a link stays one.

    Returns False, and leaves the file as it is, when another ``inv`` was quicker
    to make it. Raises :class:`RefusedError` when the folder cannot be written.
    """
    file = Path(os.path.realpath(file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _beside(file) as draft:
            draft.write_text(text, encoding="utf-8")
            if file.exists():
                draft.replace(file)
                return True
            return _link(draft, file)
    except OSError as error:
        raise RefusedError(f"{file} cannot be written: {error.strerror}.") from None


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """Give an empty file in the same folder, gone afterwards; mkstemp makes it 0600."""
    handle, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _link(draft: Path, file: Path) -> bool:
    try:
        file.hardlink_to(draft)  # unlike a rename, fails when the file is there by now
    except FileExistsError:
        return False
    return True


def set_value(text: str, name: str, line: str) -> str:
    """Return the text with the line where ``name`` is empty, else with the line at its end.

    An ``export`` before it and a comment behind it stay.
    """
    empty = rf"^((?:export[ \t]+)?){name}[ \t]*=[ \t]*(?:\"\"|'')?(?=[ \t]*$|[ \t]+#)"

    def fill(place: re.Match[str]) -> str:
        return re.sub(f"^{name}=", f"{place[1]}{name}=", line, flags=re.MULTILINE)

    filled, places = re.subn(empty, fill, text, count=1, flags=re.MULTILINE)
    before = f"{text.rstrip()}\n" if text.strip() else ""
    return filled if places else f"{before}{line}\n"


def with_value(text: str, name: str, value: str) -> str:
    """Return the text with this value, in place of any other that the name has there."""
    line = f"{name}={value}"
    given = rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=.*$"
    changed, places = re.subn(given, lambda _: line, text, flags=re.MULTILINE)
    return changed if places else set_value(text, name, line)
