"""A Compose file of ours beside the project's own: the ports that ``inv`` chose."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from composed.docker.model import Model, Port
from composed.gateway import Gateway
from composed.ports.published import ANYWHERE, Published
from composed.project import text_of

_COMMENT = """\
# Written by inv: ports of the Compose file that were taken. Each list replaces the service's own.
# To take the ports of the Compose file again, remove this file.
"""
_LINE_OF = "  {name}: {{ports: !override {ports}}}\n"  # JSON is YAML
_LINE = r'^  ("[^"]+"): '


def write_ports(
    gateway: Gateway, file: Path, model: Model, chosen: Mapping[Published, int]
) -> None:
    """Write the file for services some of whose ports are replaced by the ``chosen`` ports.

    ``model`` is the present model, with the ports of an earlier file.
    """
    earlier = re.findall(_LINE, text_of(file), re.MULTILINE)
    wanted = {*map(json.loads, earlier), *(published.service for published in chosen)}
    lines = [
        _LINE_OF.format(
            name=json.dumps(name),
            ports=json.dumps([_text(_replaced(port, name, chosen)) for port in service.ports]),
        )
        for name, service in model.services.items()
        if name in wanted
    ]
    gateway.write(file, f"{_COMMENT}services:\n{''.join(lines)}")


def _replaced(port: Port, service: str, chosen: Mapping[Published, int]) -> Port:
    host = port.host or ANYWHERE
    free = (f for p, f in chosen.items() if tuple(map(str, p)) == (service, host, port.published))
    return port._replace(published=str(next(free, port.published)))


def _text(port: Port) -> str:
    """Return a port in the short form of Compose: ``HOST:PUBLISHED:TARGET/PROTOCOL``."""
    host = f"[{port.host}]" if ":" in port.host else port.host
    parts = [part for part in (host, port.published) if part]
    return f"{':'.join([*parts, port.target])}/{port.protocol}"
