#!/usr/bin/env python
"""Run a management command of the task API; Ctrl-C ends it with 130 and without a traceback."""

import os
import signal
import sys
from types import FrameType
from typing import Any

from django.core.management import execute_from_command_line


def main() -> None:
    """Run the command, and cancel its statement in the database when it is interrupted."""
    interrupts: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # nohup stays nohup
        signal.signal(signal.SIGINT, interrupt)
    if sys.argv[1:2] == ["migrate"] and os.environ.get("DATABASE_ENGINE") == "postgresql":
        from psycopg2 import extensions, extras  # type: ignore[import-untyped]  # noqa: PLC0415

        def wait(connection: Any) -> None:
            """Wait for the end of a statement; an interrupt cancels the statement."""
            before = len(interrupts)
            extras.wait_select(connection)
            if len(interrupts) > before:  # it came too late: the statement has succeeded
                raise KeyboardInterrupt

        # libpq alone waits for the end of a statement before Python sees a signal.
        extensions.set_wait_callback(wait)
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except SystemExit as end:
        if end.code and interrupts:  # the error is that of the canceled statement
            sys.exit(128 + signal.SIGINT)
        raise


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "task_api.settings")
    main()
