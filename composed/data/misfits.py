"""What a dump made elsewhere needs and this server does not have: left out, or named."""

import json
import re
import shlex
from collections.abc import Callable, Iterator

from composed.data.dump_file import DumpFile
from composed.data.script_check import Need, Script
from composed.data.unpacked import packing
from composed.database import Dump, identifier, literal
from composed.errors import DataError
from composed.terminal import say

# A row for each name that the server does not have.
_MISSING = {
    "setting": "current_setting(name, true) IS NULL",
    "role": "NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)",
    "tablespace": "NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = name)",
    "extension": "NOT EXISTS (SELECT FROM pg_available_extensions e WHERE e.name = names.name)",
    "function": "NOT EXISTS (SELECT FROM pg_proc WHERE proname = name)",
}
_ASK = """\
SELECT json_build_array({kind}, name) FROM unnest(ARRAY[{names}]) names (name) WHERE {missing};
"""

_EXTENSION = re.compile(r"^\d+; \d+ \d+ EXTENSION - (\S+)", re.MULTILINE)
_SCHEMA_PUBLIC = re.compile(r"^\d+; \d+ \d+ SCHEMA - public ", re.MULTILINE)


def fit(dump: DumpFile, sql: Callable[[str], str]) -> None:
    """Leave out of a script all that the server does not know, and say so.

    Raises :class:`DataError` for an extension: without it, tables would be missing.
    """
    script = dump.script or Script()
    if script.fills and not script.makes:
        problem = f"{dump.file} has rows and makes no table, as with pg_dump --data-only."
        whole = f"cat TABLES {shlex.quote(str(dump.file))} > whole.sql"
        cure = f"Or put the tables first, of pg_dump --schema-only: {whole}"
        raise DataError(problem, "Make it again, without --data-only.", cure)
    needs = script.needs
    missing = _missing({(need.kind, need.name) for need in needs}, sql)
    _check_extensions(dump, [name for kind, name in missing if kind == "extension"])
    unfit = [need for need in needs if (need.kind, need.name) in missing]
    dump.leave_out(unfit)
    for line in _left_out(unfit):
        say(line)


def check_contents(dump: DumpFile, listing: str, sql: Callable[[str], str]) -> None:
    """Raise :class:`DataError` for an extension in pg_restore's list that the server misses."""
    dump.makes_public = _SCHEMA_PUBLIC.search(listing) is not None
    wanted = {("extension", name) for name in _EXTENSION.findall(listing)}
    _check_extensions(dump, [name for _, name in _missing(wanted, sql)])


def options(dump: Dump) -> list[str]:
    """Return the options of pg_restore for an archive of another server."""
    # Its roles and tablespaces are unknown here. A dump of the schema "public" alone makes the
    # schema, which every new database has.
    clean = ["--clean", "--if-exists"] if isinstance(dump, DumpFile) and dump.makes_public else []
    return ["--no-privileges", "--no-tablespaces", *clean]


def cures(dump: DumpFile, errors: str) -> Iterator[str]:
    """Yield the ways out of an error, as commands to type."""
    if "unsupported version" in errors:
        yield from _of_newer_program(dump)
    if role := re.search(r"role \"([^\"]+)\" does not exist", errors):
        yield "Make it again: pg_dump --no-owner --no-privileges --file FILE DATABASE"
        command = shlex.quote(f"CREATE ROLE {identifier(role[1])}")
        yield f"Or make the role first: inv dbshell --command {command}"
    if re.search(r"extension \".*\" is not available|extension control file", errors):
        yield "Use an image of PostgreSQL that has the extension."
    if "invalid byte sequence for encoding" in errors:
        file = shlex.quote(str(dump.file))
        named = f"(echo \"SET client_encoding = 'LATIN1';\"; cat {file}) > new.sql"
        yield f"Name the encoding of the file, if it is LATIN1: {named}"


def _of_newer_program(dump: DumpFile) -> Iterator[str]:
    header, file = dump.header, shlex.quote(str(dump.file))
    major = re.match(r"\d+", header.program)
    newer = major[0] if major else "18"
    yield f"It has format {header.version}, of pg_dump {header.program or '(unknown)'}."
    run = f"docker run --rm -i postgres:{newer} pg_restore --file -"
    if dump.file.is_dir():
        folder = f"docker run --rm --volume {file}:/dump:ro postgres:{newer}"
        yield f"Make SQL of it: {folder} pg_restore --file - /dump > dump.sql"
    elif program := packing(dump.head):
        yield f"Make SQL of it: {program} -dc {file} | {run} > dump.sql"
    else:
        yield f"Make SQL of it: {run} < {file} > dump.sql"
    yield "Then: inv db.restore --from dump.sql"


def _missing(wanted: set[tuple[str, str]], sql: Callable[[str], str]) -> set[tuple[str, str]]:
    script = ""
    for kind, missing in _MISSING.items():
        if names := ", ".join(sorted(literal(name) for has, name in wanted if has == kind)):
            script += _ASK.format(kind=literal(kind), names=names, missing=missing)
    rows = sql(script).split("\n") if script else []
    return {(kind, name) for kind, name in (json.loads(row) for row in rows if row[:1] == "[")}


def _check_extensions(dump: Dump, names: list[str]) -> None:
    if names:
        problem = f"{dump.file} needs what this server does not have: {', '.join(sorted(names))}."
        raise DataError(problem, "Use an image of PostgreSQL that has the extension.")


def _left_out(unfit: list[Need]) -> Iterator[str]:
    for kind in _MISSING:
        if names := sorted({need.name for need in unfit if need.kind == kind}):
            count = len({need.start for need in unfit if need.kind == kind})
            statements = "1 statement" if count == 1 else f"{count} statements"
            yield f"Left out {statements}: this server has no {kind} {', '.join(names)}."
