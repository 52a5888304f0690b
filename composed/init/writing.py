"""The writing of drafts: each file whole or not at all, readable as git makes files readable."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from composed import files
from composed.errors import RefusedError
from composed.init.drafts import Draft
from composed.project import Project
from composed.terminal import ask, say


def write(project: Project, drafts: Sequence[Draft], *, yes: bool) -> list[Draft]:
    """Write the drafts, the offered ones only on consent; return those that were left out."""
    left_out = []
    for draft in drafts:
        name = project.relative(draft.file)
        if draft.offered and not agrees(f"Write {name} ({draft.purpose})?", yes=yes):
            left_out.append(draft)
            continue
        done = "Completed" if draft.file.exists() else "Wrote"
        put(draft.file, draft.content)
        say(f"{done} {name}.")
    return left_out


def agrees(question: str, *, yes: bool) -> bool:
    """Return whether the user agrees; without a terminal nobody does."""
    try:
        ask(question, yes=yes, again="composed init --yes")
    except RefusedError:
        return False
    return True


def put(file: Path, content: str) -> None:
    """Replace a file whole or not at all: containers of other users read it too."""
    try:
        files.check(file, writes=True)
        file = Path(os.path.realpath(file))
        mask = os.umask(0)
        os.umask(mask)
        new = [folder for folder in file.parents if not folder.exists()]
        files.make_folder(file.parent)
        for folder in new:
            folder.chmod(0o777 & ~mask)
        mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o666 & ~mask
        with files.draft(file, content) as path:
            path.chmod(mode)
            path.replace(file)
    except OSError as error:
        raise files.unusable(file, error) from None
