"""Makes and completes ``.env``: project name, uid and gid, secrets. Values in the file stay."""

import hashlib
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from composed import files
from composed.env.copies import COMMENT, ORIGIN
from composed.env.settings import NAME, assignments, example_of, generated_names, read_text
from composed.gateway import folder_lock
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
    return f"{name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:6]}"


def complete_env(
    project: Project, file: Path, text: str | None, make: Make
) -> tuple[str, list[str]]:
    """Return the text that ``file`` should have, and the names of the settings that are added.

    ``text`` is the present text, None for a missing file, which starts as ``.env.example``, or
    empty. ``make`` returns the values, and is called only if a value is missing.
    """
    if text is None:
        text = read_text(project.example) if os.path.lexists(project.example) else ""
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
    The env file of a project that does not ask for a name is left as it is.
    """
    if not project.owns_env:
        return text, []
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


def edit_env(file: Path, change: Callable[[str | None], str]) -> tuple[str | None, str]:
    """Change an env file whole or not at all; return the text before and after.

    ``change`` gets the text of the file, None without a file, and returns the new text. One
    ``inv`` at a time changes the env files of a folder. ``change`` is called again where another
    program has changed the file meanwhile. Raises :class:`RefusedError` when nothing can be
    written, and the errors of :func:`~composed.env.settings.read_text`.
    """
    with folder_lock(Path(os.path.realpath(file)).parent, f"writes {file.name}"):
        while True:
            before = read_text(file) if stands(file) else None
            after = change(before)
            if after == before or _write(file, before, after):
                return before, after


def stands(file: Path) -> bool:
    """Return whether anything stands where the file would be: a link to nothing does not count.

    A link to itself does: it can be neither read nor written.
    """
    return file.exists() or os.path.lexists(os.path.realpath(file))


def _write(file: Path, before: str | None, after: str) -> bool:
    """Write the file, for the owner alone (0600); a link stays a link.

    Return False, and write nothing, when the file is no longer as ``before``.
    """
    try:
        files.check(file, writes=True)  # a pipe of /dev/fd has no path that could be resolved
        file = Path(os.path.realpath(file))
        files.make_folder(file.parent)
        with files.draft(file, after) as draft:
            if before is None:
                try:
                    file.hardlink_to(draft)  # unlike a rename, fails when the file exists by now
                except FileExistsError:
                    return False
                except OSError:  # a file system without hard links
                    if stands(file):
                        return False
                else:
                    return True
            elif read_text(file) != before:
                return False
            draft.replace(file)
            return True
    except OSError as error:
        raise files.unusable(file, error) from None


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


def with_values(text: str | None, values: Mapping[str, str]) -> str:
    """Return the text with each of these values; see :func:`with_value`."""
    for name, value in values.items():
        text = with_value(text or "", name, value)
    return text or ""


def _line_of(name: str) -> str:
    return rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=.*$"
