"""``python -m composed``, and the second half of ``./inv``: the program ``inv``.

The first half calls with ``python -S`` and with signals blocked. Imports take a tenth of a second,
in which Python would answer Ctrl-C with a traceback: a signal ends this program quietly instead.
"""

import _signal  # type: ignore[import-not-found]  # `signal` takes a millisecond
import os
import sys

ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)

for _number in ENDING:
    if _signal.getsignal(_number) != _signal.SIG_IGN:  # nohup stays nohup
        _signal.signal(_number, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, ENDING)

if "site" not in sys.modules:
    import site

    site.main()  # the packages of .venv

if not __package__:  # called by its path: Python has put this folder on sys.path
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    sys.path[0] = root
    sys.argv[0] = os.path.join(root, "inv")

from composed.program import main

main()
