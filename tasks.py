"""The verbs of this stack: `inv --list` lists all, `inv VERB --help` explains one.

The verbs live in composed/verbs/. Tasks of this project alone go below the import.
"""

from composed.verbs import (
    build,
    collect,
    createsuperuser,
    dbshell,
    dc,
    destroy,
    doctor,
    down,
    env,
    logs,
    makemigrations,
    manage,
    migrate,
    open_,
    ps,
    restart,
    shell,
    test,
    up,
)

# A task of this project alone goes here:  @task / def seed(c): ...

namespace = collect(__name__)  # last: collects the tasks above, and adds db.*
