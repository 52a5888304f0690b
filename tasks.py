"""What you can do with the stack: `inv --list` shows it, `inv VERB --help` explains it.

The verbs live in composed/verbs/; this project's own go below.
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

namespace = collect(__name__)  # last: it takes what stands above, and adds db.*
