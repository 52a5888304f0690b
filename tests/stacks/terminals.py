"""Verbs in a terminal: all the ways to end a verb, and the exit code that a shell would show."""

from __future__ import annotations

import os
import signal
import termios

import pexpect

# How a verb ends, and the exit code that a shell shows.
WAYS = {"Ctrl-C": 130, "SIGTERM": 143, "hang-up": 129, "SIGKILL": 137}

# A program that ends on Ctrl-C without a traceback of Python's, and says when the wait begins.
SLEEP = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "print('under way', flush=True); time.sleep(611)"
)


def exit_code(terminal: pexpect.spawn[str]) -> int:
    """Wait for the verb's own end; return the code that a shell would show."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    if terminal.exitstatus is not None:
        return int(terminal.exitstatus)
    return 128 + int(terminal.signalstatus or 0)


def end_input(terminal: pexpect.spawn[str], prompt: str) -> int:
    """Type Ctrl-D at the next prompt; return the exit code as a shell would show it.

    Before the prompt a Ctrl-D can be lost: readline takes it from the terminal only while it reads.
    """
    terminal.expect_exact(prompt)
    terminal.sendeof()
    return exit_code(terminal)


def end_verb(terminal: pexpect.spawn[str], way: str) -> int:
    """End the verb in this way; return the code that a shell would show."""
    assert terminal.pid
    if way == "hang-up":
        os.close(terminal.child_fd)
        terminal.closed = True
        code = os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1])
        return code if code >= 0 else 128 - code
    if way == "Ctrl-C":
        terminal.sendintr()
    else:
        os.kill(terminal.pid, signal.Signals[way])
    terminal.expect(pexpect.EOF)
    assert "Traceback" not in str(terminal.before)
    if way != "SIGKILL":  # after which no process is left to set the terminal right
        assert termios.tcgetattr(terminal.child_fd)[3] & termios.ECHO
    return exit_code(terminal)
