"""The verbs of a Django + Gunicorn + PostgreSQL stack, and the machinery behind them.

Imports point downwards: ``tasks.py`` -> :mod:`composed.verbs` -> :class:`composed.stack.Stack`
-> :class:`composed.gateway.Gateway` -> ``docker`` or ``gunicorn``.
"""

__version__ = "0.1.0"
