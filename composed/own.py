"""The program ``composed`` as Invoke sees it: which verbs there are in a folder."""

from pathlib import Path

from composed.naming import call_program
from composed.program import Inv
from composed.project import tasks_folder


class Own(Inv):
    """Runs a ``tasks.py`` of Invoke as ``inv`` does; without one, every verb of Composed."""

    called = "composed"

    def load_collection(self) -> None:
        """Load the tasks; ``init`` runs nothing of the project, so no ``tasks.py`` either."""
        from composed.verbs import collect, with_init  # noqa: PLC0415  # signals first

        every = with_init(collect("composed.verbs"))
        call_program(self.called, every.task_names)
        wants_init = "init" in (*self.core.unparsed[:1], self.args.help.value)
        folder = None if wants_init else tasks_folder(Path.cwd())
        if folder or (self.args["search-root"].value and not wants_init):
            self.args["search-root"].value = self.args["search-root"].value or str(folder)
            super().load_collection()
            self.collection = with_init(self.collection)
        else:
            self.collection = every
