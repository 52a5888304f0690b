"""The texts of the files that `composed init` writes; ``$NAME`` is replaced."""

TASKS = '''\
"""The verbs of this project: `inv --list` shows all, `inv VERB --help` explains one."""

from composed.verbs import *$NOQA_IMPORT

# A task of this project alone goes here:  @task / def seed(c): ...

namespace = collect(__name__)$NOQA_NAME  # last: collects the tasks above, and adds db.*
'''

TWO_LINES = """\
from composed.verbs import *
namespace = collect(__name__)"""

# Lint needs no code of the project, unit no Docker, integration the stack.
NOXFILE = '''\
"""The checks of this project: `nox` runs all, `nox -s lint` runs one."""

import nox


@nox.session
def lint(session: nox.Session) -> None:
    """Check the code with Ruff."""
    session.install("ruff")
    session.run("ruff", "check", ".")

$UNIT
@nox.session(venv_backend="none")
def integration(session: nox.Session) -> None:
    """Start a stack beside yours, run the tests in it on PostgreSQL, remove the stack."""
    from composed.sessions import stack  # here: the other sessions need no composed

    with stack(session) as env:
        session.run("composed", "manage", "--", "test", env=env)
'''

UNIT = '''
@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests on SQLite, without Docker. Settings without a default go into env."""
$INSTALL
$CHDIR    session.run($TEST, env=$ENV)

'''

NO_UNIT = """
# There is no session unit: the settings name PostgreSQL alone. The tests run in integration.

"""

WORKFLOW = """\
# The sessions that developers run: `nox`.
name: Composed

on:
  push:
    branches: [$BRANCH]
  pull_request:

permissions:
  contents: read # for the checkout

jobs:
  nox:
    runs-on: ubuntu-24.04
    timeout-minutes: 30$FOLDER
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - uses: actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0
        with:
          python-version: "3.13"
      - run: pip install $PACKAGES
      - run: nox
"""

FOLDER = """
    defaults:
      run:
        working-directory: $NAME"""
