"""The verbs that lead inside the running stack."""

from __future__ import annotations

from invoke import Context, task

from composed.errors import EngineError, ValueWrongError, end_with
from composed.modes import prepare_stack
from composed.verbs.arguments import after_dashes


@task(
    help={
        "service": "Another service than the backend.",
        "django": "Django's Python shell instead of bash.",
    }
)
def shell(c: Context, service: str = "", django: bool = False) -> None:
    """Open bash in the running backend; what follows -- is run instead."""
    stack = prepare_stack(c)
    chosen = [*stack.project.manage, "shell"] if django else ["bash"]
    argv = [*chosen, *after_dashes()] if django else after_dashes() or chosen
    end_with(stack.inside.shell(service or stack.project.backend, argv))


@task(help={"command": "Run this SQL and end."})
def dbshell(c: Context, command: str = "") -> None:
    """Open psql at the stack's database; what follows -- goes to psql."""
    end_with(prepare_stack(c).inside.dbshell(after_dashes(), command))


@task
def dc(c: Context) -> None:
    """Run Compose itself on this stack: inv dc -- ARGS."""
    words = after_dashes()
    if not words:
        raise ValueWrongError("No Compose command.", "Type: inv dc -- help")
    compose = prepare_stack(c).compose
    if compose is None:
        raise EngineError(
            "This stack runs without Docker: local mode.",
            "Change over: inv down, then COMPOSED_MODE=docker inv up",
        )
    end_with(compose(words))
