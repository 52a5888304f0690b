"""A Compose file of ours beside the project's own: the ports that ``inv`` chose.

The file outlives the Compose file that it was written for. It records the ports that it replaces,
and what these depend on: where that has changed, the ports are compared before the file is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from composed.docker.model import Model, Port
from composed.errors import ComposedError
from composed.gateway import Gateway
from composed.ports.published import ANYWHERE, Published
from composed.project import text_of
from composed.terminal import say

if TYPE_CHECKING:  # which imports this module late
    from composed.docker.compose import Compose

_COMMENT = """\
# Written by inv: ports of the Compose file that were taken. Each list replaces the service's own.
# To take the ports of the Compose file again, remove this file.
"""
_RECORD = re.compile(r"^# The ports of the Compose file then: (\{.*\})\n", re.MULTILINE)
# JSON is YAML. Further keys of a service, which another writer of this file has set, come first.
_LINE = r"^  {name}: \{{(?P<others>.*?)(?:ports: !override .*)?\}}\n"
_HAS_PORTS = r'^  "([\w.-]+)": \{.*ports: !override '
_SERVICES = r"^services:\n(?:  .*\n)*"

# What the ports of a Compose file depend on: files that it names, variables.
_NAMES_FILE = re.compile(r"(?<![\w./-])[\w./-]+\.ya?ml\b")
_NAMES_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")


class _Record(NamedTuple):
    """The state that the file was written in, and the ports that it replaces, by service."""

    state: str
    ports: dict[str, list[str]]


def write_ports(
    gateway: Gateway, file: Path, model: Model, chosen: Mapping[Published, int], state: str
) -> None:
    """Write the file for services some of whose ports are replaced by the ``chosen`` ports.

    ``model`` is the present model, with the ports of an earlier file. All else in the file stays.
    For ``state`` see :func:`state_of`.
    """
    text = text_of(file) or _COMMENT
    if not re.search(_SERVICES, text, re.MULTILINE):
        text += "services:\n"
    record = _record_in(text)
    earlier, replaced = _with_chosen(text), record.ports if record else {}
    for name in dict.fromkeys([*earlier, *(published.service for published in chosen)]):
        if ports := model.service(name).ports:
            if name not in earlier:  # else they are ours
                replaced[name] = [in_short(port) for port in ports]
            new = [in_short(_replaced(port, name, chosen)) for port in ports]
            text = _with_ports(text, name, new)
    gateway.write(file, _recorded(text, _Record(state, replaced)))


def state_of(files: Iterable[Path], settings: Iterable[Path], environ: Mapping[str, str]) -> str:
    """Return a hash of all that the ports of Compose files depend on: quicker than Compose."""
    texts: dict[Path, str] = {}
    wanted = [*files]
    for file in wanted:  # grows while the loop runs
        texts[file] = text_of(file)
        named = {file.parent / name for name in _NAMES_FILE.findall(texts[file])}
        named = {one for one in named if os.path.isfile(one)}  # noqa: PTH113  # any text
        wanted += sorted(named.difference(wanted))
    names = {name for text in texts.values() for name in _NAMES_VARIABLE.findall(text)}
    # PWD is another in each folder where a verb is typed.
    values = {name: environ.get(name) for name in sorted(names - {"PWD"} | {"COMPOSE_PROFILES"})}
    texts |= {file: text_of(file) for file in settings}
    parts = [*values.items(), *((str(file), text) for file, text in texts.items())]
    return hashlib.sha256(repr(parts).encode(errors="replace")).hexdigest()


def still_fits(gateway: Gateway, file: Path, state: str, dc: Compose) -> bool:
    """Take out of the file what fits no longer; return whether anything is left to use.

    That are services that have left the Compose file, and ports that are others there now. ``dc``
    does not use the file, and is asked only where the state has changed.
    """
    text = text_of(file)
    record = _record_in(text)
    if record.state == state if record else not text.startswith(_COMMENT):
        return True  # as it was; of another writer
    replaced = record.ports if record else {}
    try:
        model = dc.model()
        services = _every_service(model, _with_chosen(text), dc)
    except ComposedError:  # the command that follows fails too, and says why
        return True
    for name in _with_chosen(text):
        now = [in_short(port) for port in model.service(name).ports]
        if name not in services:
            text = _without_service(text, name)
        elif name in model.services and replaced.get(name, now) != now:
            text = _with_ports(text, name, [])
        else:
            if name in model.services:
                replaced.setdefault(name, now)
            continue
        replaced.pop(name, None)
        shown = os.path.relpath(file, gateway.cwd)
        say(f"The Compose file has changed: {shown} loses the ports that inv chose for {name}.")
    if re.search(r"^ ", text, re.MULTILINE):
        gateway.write(file, _recorded(text, _Record(state, replaced)))
        return True
    gateway.remove(file)
    return False


def _every_service(model: Model, names: Iterable[str], dc: Compose) -> set[str]:
    """Return the services, with those of other profiles where the model lacks one of the names."""
    from composed.docker.compose import EVERY_PROFILE  # noqa: PLC0415  # imports this module

    known = {*model.services}
    return known if known.issuperset(names) else known | {*dc.services(EVERY_PROFILE)}


def _with_chosen(text: str) -> list[str]:
    """Return the services with ports in the file."""
    return re.findall(_HAS_PORTS, text, re.MULTILINE)


def _record_in(text: str) -> _Record | None:
    found = _RECORD.search(text)
    try:
        data: Any = json.loads(found[1]) if found else None
        ports = {str(name): [*map(str, ports)] for name, ports in data["ports"].items()}
        return _Record(str(data["state"]), ports)
    except (ValueError, TypeError, KeyError, AttributeError):  # nobody's record, or mangled
        return None


def _recorded(text: str, record: _Record) -> str:
    line = f"# The ports of the Compose file then: {json.dumps(record._asdict())}\n"
    return f"{_RECORD.sub('', text)}{line}"


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
    if others := earlier["others"].rstrip(", "):
        rest = line.partition("{")[2] or "}\n"
        line = f"  {json.dumps(name)}: {{{others}{', ' if line else ''}{rest}"
    return f"{text[: earlier.start()]}{line}{text[earlier.end() :]}"


def _without_service(text: str, name: str) -> str:
    pattern = _LINE.format(name=re.escape(json.dumps(name)))
    return re.sub(pattern, "", text, flags=re.MULTILINE)


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
