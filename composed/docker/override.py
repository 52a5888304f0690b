"""A Compose file of ours beside the project's own: the ports that ``inv`` chose."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from composed.docker.model import Model, Port
from composed.gateway import Gateway
from composed.ports.published import ANYWHERE, Published
from composed.project import text_of

_COMMENT = """\
# Written by inv: ports of the Compose file that were taken. Each list replaces the service's own.
# To take the ports of the Compose file again, remove this file.
"""
# JSON is YAML. Further keys of a service, which another writer of this file has set, come first.
_LINE = r"^  {name}: \{{(?P<others>.*?)(?:ports: !override .*)?\}}\n"
_HAS_PORTS = r'^  ("[^"]+"): \{.*ports: !override '
_SERVICES = r"^services:\n(?:  .*\n)*"


def write_ports(
    gateway: Gateway, file: Path, model: Model, chosen: Mapping[Published, int]
) -> None:
    """Write the file for services some of whose ports are replaced by the ``chosen`` ports.

    ``model`` is the present model, with the ports of an earlier file. All else in the file stays.
    """
    text = text_of(file) or _COMMENT
    if not re.search(_SERVICES, text, re.MULTILINE):
        text += "services:\n"
    earlier = map(json.loads, re.findall(_HAS_PORTS, text, re.MULTILINE))
    for name in dict.fromkeys([*earlier, *(published.service for published in chosen)]):
        if ports := [_replaced(port, name, chosen) for port in model.service(name).ports]:
            text = _with_ports(text, name, [in_short(port) for port in ports])
    gateway.write(file, text)


def service_line(name: str, others: Mapping[str, str], ports: Sequence[str]) -> str:
    """Return the line of a service; "" for a service without a key to set."""
    keys = [f"{key}: {value}" for key, value in others.items()]
    keys += [f"ports: !override {json.dumps(ports)}"] if ports else []
    return f"  {json.dumps(name)}: {{{', '.join(keys)}}}\n" if keys else ""


def _with_ports(text: str, name: str, ports: Sequence[str]) -> str:
    pattern = re.compile(_LINE.format(name=re.escape(json.dumps(name))), re.MULTILINE)
    line = service_line(name, {}, ports)
    if not (earlier := pattern.search(text)):
        return re.sub(_SERVICES, lambda found: found[0] + line, text, flags=re.MULTILINE)
    others = earlier["others"].rstrip(", ")
    line = line.replace("{", f"{{{others}, ", 1) if others else line
    return f"{text[: earlier.start()]}{line}{text[earlier.end() :]}"


def _replaced(port: Port, service: str, chosen: Mapping[Published, int]) -> Port:
    host = port.host or ANYWHERE
    free = (f for p, f in chosen.items() if tuple(map(str, p)) == (service, host, port.published))
    return port._replace(published=str(next(free, port.published)))


def in_short(port: Port) -> str:
    """Return a port in the short form of Compose: ``HOST:PUBLISHED:TARGET/PROTOCOL``.

    For any number at an address, the form is ``HOST::TARGET``.
    """
    host = f"[{port.host}]" if ":" in port.host else port.host
    parts = [host, port.published] if host else [port.published] * bool(port.published)
    return f"{':'.join([*parts, port.target])}/{port.protocol}"
