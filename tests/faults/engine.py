"""A second Docker Engine in a separate network: a test can kill this engine alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.stacks.copies import Copy, Done
from tests.stacks.waiting import wait_until

# The flags of the loopback interface, IFF_UP | IFF_RUNNING, set by SIOCSIFFLAGS: netdevice(7).
LOOPBACK_UP = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 0x41))"
)


def why_not() -> str:
    """Return the reason why this machine cannot run a second engine, or an empty text."""
    missing = [name for name in ("dockerd", "unshare", "nsenter") if not shutil.which(name)]
    if os.getuid() or missing:
        return f"a second engine needs root and {', '.join(missing) or 'nothing else'}"
    return ""


class Engine:
    """``dockerd`` with separate data, socket and network, which nothing leaves."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="second-engine-", dir="/var/tmp"))
        self.host = f"unix://{self._folder}/docker.sock"
        self._network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.inside = ("nsenter", "--net", "--target", str(self._network.pid))
        own = Path(f"/proc/{self._network.pid}/ns/net")
        wait_until(lambda: own.readlink() != Path("/proc/self/ns/net").readlink(), "a network")
        subprocess.run([*self.inside, "python3", "-c", LOOPBACK_UP], check=True)
        self.start()

    def start(self) -> None:
        """Start the engine, again perhaps, and wait for an answer."""
        roots = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        places = (f"--{option}={self._folder}/{name}" for option, name in roots.items())
        (self._folder / "pid").unlink(missing_ok=True)
        with (self._folder / "log").open("a") as log:
            self._dockerd = subprocess.Popen(
                [*self.inside, "dockerd", f"--host={self.host}", *places], stdout=log, stderr=log
            )
        wait_until(lambda: self.docker("info").returncode == 0, "the second engine", 60)

    def docker(self, *args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        argv = ["docker", "--host", self.host, *args]
        return subprocess.run(argv, capture_output=True, check=False, **options)

    def load(self, *images: str) -> None:
        """Load images of the first engine."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            assert self.docker("load", stdin=saved.stdout).returncode == 0

    def kill(self) -> None:
        """End the engine at once; the containers go on."""
        self._dockerd.kill()  # nsenter has become dockerd
        self._dockerd.wait()

    def close(self) -> None:
        self._dockerd.send_signal(signal.SIGTERM)
        self._dockerd.wait()
        self._network.kill()
        self._network.wait()
        # The data is a mount, which a killed engine has left.
        subprocess.run(["umount", "--lazy", self._folder / "data"], check=False)
        shutil.rmtree(self._folder)


class Beside(Copy):
    """A copy for the second engine: the verbs run in that network."""

    inside: tuple[str, ...] = ()

    def run(self, *argv: str, text: str = "", **env: str) -> Done:
        return super().run(*self.inside, *argv, text=text, **env)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        program, *rest = [*self.inside, self.program]
        return Copy(self.root, self.env, program).start(*rest, *words, **options)
