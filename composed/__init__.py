"""The verbs of a Django + Gunicorn + PostgreSQL stack, and the machinery behind them.

Arrows run one way: ``tasks.py`` -> :mod:`composed.verbs` -> :class:`composed.stack.Stack`
-> :class:`composed.process.Gateway` -> ``docker`` or ``gunicorn``.
"""

import sys

__version__ = "0.1.0"

# Invoke forbids bytecode (its --write-pyc), so each verb would compile all of this anew: 25 ms.
# Who forbids it with PYTHONDONTWRITEBYTECODE or -B still does.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
