"""Makes and completes ``.env``: project name, uid and gid, secrets. Values in the file stay."""

import hashlib
import json
import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from composed.env.copies import COMMENT, NAME, ORIGIN
from composed.env.settings import assignments, example_of, generated_names, read_text
from composed.errors import RefusedError
from composed.project import Project

Make: TypeAlias = Callable[[], Mapping[str, str]]


def generated(project: Project, *, rootless: bool) -> dict[str, str]:
    """Return a fresh value for every setting that may have to be generated.

    The backend runs as the owner of the source, who then owns the files that the backend
    makes: as 1000 in place of root, and on a rootless engine as 0, which is the caller.
    """
    owner = project.owner
    uid, gid = (owner.st_uid, owner.st_gid) if owner.st_uid else (1000, 1000)
    if rootless:
        uid, gid = 0, 0
    values = {NAME: project_name(project.root), "APP_UID": str(uid), "APP_GID": str(gid)}
    # Compose and python-dotenv read `$`, `#` and quotes differently; token_urlsafe has none.
    return values | {name: secrets.token_urlsafe(48) for name in project.secrets}


def project_name(root: Path) -> str:
    """Return a Compose project name for the folder: the folder's name, and a hash of the path.

    Compose takes ``[a-z0-9][a-z0-9_-]*``. The hash differs for two folders of the same name.
    """
    plain = unicodedata.normalize("NFKD", root.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_") or "stack"
    return f"{name}-{hashlib.sha256(str(root).encode()).hexdigest()[:6]}"


def complete_env(project: Project, file: Path, make: Make) -> tuple[str, list[str]]:
    """Return the text that ``file`` should have, and the names of the settings that are added.

    A missing file starts as ``.env.example``, or empty. ``make`` returns the values, and is
    called only if a value is missing.
    """
    exists = file.exists() or Path(os.path.realpath(file)).is_symlink()  # a link to itself
    start = file if exists else project.example
    text = read_text(start) if exists or start.exists() else ""
    present = assignments(text, file.name)
    names = generated_names(project, example_of(project))
    missing = [name for name in names if not present.get(name)]
    values = make() if missing else {}
    for name in missing:
        text = set_value(text, name, f"{name}={values[name]}")
    return text, missing


def settle(project: Project, origin: Path | None, text: str, make: Make) -> tuple[str, list[str]]:
    """Return the env file's text with this folder recorded, and the names of changed settings.

    In a copy of the folder ``origin``, the stack gets another name, and the ids of the owner
    where the owner is another. Settings that lead to the data of ``origin`` become comments.
    """
    changed: list[str] = []
    if origin:
        values, generated_values = assignments(text), make()
        changed = [NAME]
        if _owner(origin / project.relative(project.tree)) != _owner(project.tree):
            changed += [name for name in ("APP_UID", "APP_GID") if name in values]
        for name in changed:
            text = with_value(text, name, generated_values[name])
        volume = values.get("POSTGRES_VOLUME")
        shared = ["POSTGRES_VOLUME"] if volume and NAME not in volume else []
        shared += ["SQLITE_PATH"] if values.get("SQLITE_PATH", "").startswith("/") else []
        for name in shared:
            text = re.sub(_line_of(name), r"# \g<0>", text, flags=re.MULTILINE)
        changed += shared
    line = f"{COMMENT} {json.dumps(str(project.root))}\n"
    if ORIGIN.search(text):
        return ORIGIN.sub(lambda _: line, text), changed
    first = re.compile(_line_of(NAME), re.MULTILINE)
    return first.sub(lambda setting: line + setting[0], text, count=1), changed


def _owner(folder: Path) -> int:
    try:
        return folder.stat().st_uid
    except OSError:
        return -1


def write_env(file: Path, text: str) -> bool:
    """Write ``file`` whole or not at all, for the owner alone (0600); a link stays a link.

    Returns False, and writes nothing, when another ``inv`` has made the file meanwhile.
    Raises :class:`RefusedError` when the folder cannot be written.
    """
    file = Path(os.path.realpath(file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{file.name}.", dir=file.parent) as folder:
            draft = Path(folder, file.name)
            draft.touch(mode=0o600)
            draft.write_text(text, encoding="utf-8")
            if file.exists():
                draft.replace(file)
                return True
            try:
                file.hardlink_to(draft)  # unlike a rename, fails when the file exists by now
            except FileExistsError:
                return False
            return True
    except OSError as error:
        raise RefusedError(f"{file} cannot be written: {error.strerror}.") from None


def set_value(text: str, name: str, line: str) -> str:
    """Return the text with ``line`` in place of an empty ``name``, else at the end.

    An ``export`` before the name and a comment behind the value stay.
    """
    empty = rf"^((?:export[ \t]+)?){name}[ \t]*=[ \t]*(?:\"\"|'')?(?=[ \t]*$|[ \t]+#)"

    def fill(place: re.Match[str]) -> str:
        return re.sub(f"^{name}=", f"{place[1]}{name}=", line, flags=re.MULTILINE)

    filled, places = re.subn(empty, fill, text, count=1, flags=re.MULTILINE)
    before = f"{text.rstrip()}\n" if text.strip() else ""
    return filled if places else f"{before}{line}\n"


def with_value(text: str, name: str, value: str) -> str:
    """Return the text with this value in every place that sets the name, else at the end."""
    line = f"{name}={value}"
    changed, places = re.subn(_line_of(name), lambda _: line, text, flags=re.MULTILINE)
    return changed if places else set_value(text, name, line)


def _line_of(name: str) -> str:
    return rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=.*$"
