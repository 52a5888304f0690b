"""The program ``composed`` as Invoke sees it: which verbs there are in a folder."""

import sys
from pathlib import Path

from composed.errors import EngineError
from composed.naming import call_program
from composed.program import Inv
from composed.project import has_verbs, tasks_folder


class Own(Inv):
    """Runs a ``tasks.py`` with verbs of Composed as ``inv`` does; without one, every verb.

    A ``tasks.py`` without our verbs is for ``inv`` alone: nothing of it is imported.
    """

    called = "composed"

    def load_collection(self) -> None:
        """Load the tasks; ``init`` runs nothing of the project, so no ``tasks.py`` either."""
        from composed.verbs import collect, with_init  # noqa: PLC0415  # signals first

        every = with_init(collect("composed.verbs"))
        call_program(self.called, every.task_names)
        wants_init = "init" in (*self.core.unparsed[:1], self.args.help.value)
        folder = None if wants_init else tasks_folder(Path.cwd())
        if folder and not has_verbs(folder):
            folder = None
        if folder or (self.args["search-root"].value and not wants_init):
            self.args["search-root"].value = self.args["search-root"].value or str(folder)
            self._load_tasks()
            self.collection = with_init(self.collection)
        else:
            self.collection = every

    def _load_tasks(self) -> None:
        try:
            super().load_collection()
        except ModuleNotFoundError as error:
            problem = f"The tasks in {self.args['search-root'].value} import {error.name}, "
            problem += f"which {sys.executable} does not have."
            cure = "Install it there, or call the composed of the project's own environment."
            raise EngineError(problem, cure) from None
