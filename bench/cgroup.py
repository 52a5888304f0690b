"""CPU time of containers, from their cgroups (v1 or v2) or their processes."""

import os
from pathlib import Path

from tools import run

__all__ = ["cpu_seconds"]

CGROUPS = Path("/sys/fs/cgroup")


def cpu_seconds(container: str) -> float:
    """Return the CPU seconds of all processes, running or ended, of a container."""
    pid = run(["docker", "inspect", "--format", "{{.State.Pid}}", container]).strip()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        folder = path.lstrip("/")
        if "cpuacct" in controllers.split(","):
            for mount in (controllers, "cpuacct"):
                if (usage := CGROUPS / mount / folder / "cpuacct.usage").exists():
                    return int(usage.read_text()) / 1e9
        if not controllers and (stat := CGROUPS / folder / "cpu.stat").exists():
            return int(stat.read_text().split()[1]) / 1e6  # the first line is usage_usec
    return _of_processes(container)


def _of_processes(container: str) -> float:
    """Return the CPU seconds of running processes and ended children: close, without a cgroup."""
    ticks = 0
    for pid in run(["docker", "top", container, "-eo", "pid"]).split()[1:]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")
