"""Runs verbs in forks of one process, so that hundreds need no time to import.

Reads lines of JSON from stdin: ``folder``, ``words``, ``seconds``. Answers a line of JSON for
each: the exit ``code``, None for a hang, and the ``output``, stdout before stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from typing import Any

import invoke.main

import composed.verbs  # noqa: F401  # for the forks
from composed.data import actions, snapshots, sqlite  # noqa: F401
from composed.doctor import bundle, env_check  # noqa: F401
from composed.env import file  # noqa: F401
from composed.local import stack  # noqa: F401


def answer(folder: str, words: list[str], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if not (child := os.fork()):
            run(folder, words, out.fileno(), err.fileno())
        code = ended(child, seconds)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read(1 << 20).decode(errors="backslashreplace"))
    return {"code": code, "output": "".join(texts)}


def run(folder: str, words: list[str], out: int, err: int) -> None:
    """Become ``inv`` with these words."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    sys.argv = ["inv", *words]
    try:
        invoke.main.program.run(sys.argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001  # shown as Python would
        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """Return the exit code; after so many seconds, kill the child and return None."""
    end = time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(done[1])


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
