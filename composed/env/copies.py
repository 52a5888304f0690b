"""Tells a copied project folder, which needs a stack of its own, from a moved folder.

A comment in the env file records the folder of the stack. The recorded folder still exists
beside a copied folder or env file. After a move the recorded folder is gone.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from composed import files
from composed.env.settings import NAME, assignments, env_files, read_text
from composed.errors import SettingError
from composed.project import Project

COMMENT = "# The folder of this stack, by which inv tells a copy:"
ORIGIN = re.compile(rf'^{COMMENT} (".*")\n', re.MULTILINE)


def original(project: Project, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that the project was copied from, or None.

    A project name in the process environment is deliberate, and an env file outside the
    project is shared on purpose.
    """
    file = env_files(project, environ)[0]
    if environ.get(NAME) or not file.is_relative_to(project.root) or not os.path.lexists(file):
        return None
    text = read_text(file)
    if not (recorded := ORIGIN.search(text)):
        return None
    try:
        folder = Path(json.loads(recorded[1]))
        os.fsencode(folder)  # else no folder, and no text for a terminal
        if folder.samefile(project.root):  # even by a link, or in letters of another case
            return None
        other = assignments(files.text(folder / file.relative_to(project.root)))
    except PermissionError:
        return folder  # a stack shared by mistake would be worse
    except (OSError, ValueError, SettingError):
        return None
    same_stack = other.get(NAME, "") == assignments(text).get(NAME)
    return folder if same_stack else None
