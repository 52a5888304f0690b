"""The statements of an SQL dump that a restore cannot run, or not here."""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass, field

from composed.data.sql_script import Statement, statements

# The longest statements are of data or functions; the beginning tells.
_ENOUGH = 4096
_CAPITALS = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_NAME = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^\s;]+)"""
_TOKEN = re.compile(
    r"""\s+|--[^\n\r]*|/\*.*?\*/|(?P<token>"(?:[^"]|"")*"|[eE]?'(?:[^']|'')*'|[\w$]+|.)""",
    re.DOTALL,
)
_WORDS = re.compile(r""""[^"]*"|'[^']*'|(\w+)""")
# Without effect on the data: an answer on the screen, or how psql ends at an error.
_TALK = re.compile(
    r"\\(?:echo|qecho|warn|timing|pset|x|a|t"
    r"|set +(?:ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|VERBOSITY|ECHO|SHOW_CONTEXT)"
    r"|unset +(?:ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|ECHO))(?: [^\\`]*)?"
)
_HARMLESS = re.compile(r"\\encoding +\w+|\\(?:un)?restrict +\w+")
_BEYOND = re.compile(
    r"(?:CREATE|ALTER|DROP) (?:DATABASE|ROLE|USER (?!MAPPING )|GROUP|TABLESPACE|SYSTEM)\b"
    r"|(?:DROP|REASSIGN) OWNED\b|PREPARE TRANSACTION\b|(?:COMMIT|ROLLBACK) PREPARED\b"
    r"|COPY .*\b(?:TO|FROM) PROGRAM\b|COPY .*\bTO '"
    r"|(?:GRANT|REVOKE) (?!.*\bON\b)"
)
# What pg_restore too leaves out without --create.
_OF_THE_DATABASE = re.compile(
    r"(?:COMMENT|SECURITY LABEL) (?:FOR \S+ )?ON (?:DATABASE|ROLE|TABLESPACE)\b"
    r"|(?:GRANT|REVOKE) .*\bON (?:DATABASE|TABLESPACE|PARAMETER)\b"
)
_SETTING = re.compile(r"SET (?:SESSION |LOCAL )?(\w+) (?:=|TO) (.*?) ?;?$")
_SESSION = re.compile(
    r"SET (?:SESSION |LOCAL )?(?:ROLE|SESSION AUTHORIZATION) (?:TO |= )?" + f"({_NAME})"
)
_OWNER = re.compile(f"ALTER .* OWNER TO ({_NAME})")
_RIGHTS = re.compile(r"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) ")
_GRANTEES = re.compile(
    rf"\b(?:TO|FROM|ROLE|USER|BY) ((?:GROUP )?{_NAME}(?: , (?:GROUP )?{_NAME})*)"
)
_EXTENSION = re.compile(r"CREATE EXTENSION (?:IF NOT EXISTS )?" + f"({_NAME})")
_STATISTICS = re.compile(r"SELECT .*\b(PG_RESTORE_(?:RELATION|ATTRIBUTE)_STATS) \(")
# In a new database nothing can be dropped: the beginning of a dump with --clean.
_DROP = re.compile(r"(?:DROP|ALTER TABLE .* DROP|SELECT .*LO_UNLINK) (?!.*\bIF EXISTS\b)")
_PUBLIC = re.compile(r"CREATE SCHEMA (\"?)public\1 ?;?$", re.IGNORECASE)
_BEGINS = re.compile(r"(?:BEGIN|START TRANSACTION)\b")
_ENDS = re.compile(r"(?:COMMIT|END|ROLLBACK|ABORT)\b(?! (?:WORK |TRANSACTION )?(?:TO|AND CHAIN)\b)")
_NEEDS = {_SESSION: "role", _OWNER: "role", _EXTENSION: "extension", _STATISTICS: "function"}
_EVERYBODY = {"PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "DEFAULT", "NONE"}


@dataclass(frozen=True)
class Need:
    """Bytes of a script that need something of the server: a ``kind`` and a name.

    The kinds: setting, role, tablespace, extension, function, restrict.
    """

    kind: str
    name: str
    start: int
    end: int


@dataclass
class Script:
    """What a look through a script found; ``edits`` are bytes to be replaced in any case."""

    empty: bool = True
    beyond: tuple[int, str] | None = None  # the line and the statement
    open_since: int = 0  # the line of a transaction without end
    makes: bool = False  # tables, schemas, anything
    fills: bool = False
    needs: list[Need] = field(default_factory=list)
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)


def look_through(chunks: Iterable[bytes], *, transcoded: bool) -> Script:
    """Read a script to its end, or to the first statement that reaches beyond its database.

    Raises :class:`~composed.data.sql_script.CutOffError` where a text has no end. A
    ``transcoded`` script is in UTF-8 now, whatever client_encoding it sets.
    """
    script = Script()
    for statement in statements(chunks):
        if not statement.text:
            script.empty, script.fills = False, True
        elif statement.text.startswith(b"\\"):
            _look_at_command(script, statement)
        else:
            _look_at_statement(script, statement, transcoded)
        if script.beyond:
            break
    return script


def _look_at_command(script: Script, statement: Statement) -> None:
    line = statement.text.decode(errors="replace").strip().replace("\t", " ")
    if _TALK.fullmatch(line):
        script.edits.append((statement.start, statement.end, b""))
    elif not _HARMLESS.fullmatch(line):
        script.beyond = (statement.line, line)
    elif "restrict" in line:
        script.needs.append(Need("restrict", "", statement.start, statement.end))


def _look_at_statement(script: Script, statement: Statement, transcoded: bool) -> None:
    raw = statement.text.decode(errors="replace")
    if not raw[:6].upper().startswith(("ALTER", "GRANT", "REVOKE")):
        raw = raw[:_ENOUGH]
    text = " ".join(found["token"] for found in _TOKEN.finditer(raw) if found["token"])
    upper = _WORDS.sub(lambda found: found[0].translate(_CAPITALS) if found[1] else found[0], text)
    span = (statement.start, statement.end)
    script.empty = script.empty and text == ";"
    if _BEYOND.match(upper):
        script.beyond = (statement.line, raw)
    elif _OF_THE_DATABASE.match(upper) or (_DROP.match(upper) and not script.makes):
        script.edits.append((*span, b""))
    elif _PUBLIC.match(upper):
        script.edits.append((*span, b"CREATE SCHEMA IF NOT EXISTS public;"))
    elif _BEGINS.match(upper):
        script.open_since = statement.line
    elif _ENDS.match(upper):
        script.open_since = 0
    else:
        script.makes = script.makes or upper.startswith("CREATE ")
        script.fills = script.fills or upper.startswith(("COPY ", "INSERT "))
        script.needs += [Need(kind, name, *span) for kind, name in _needs(text, upper)]
        if transcoded and re.match(r"SET CLIENT_ENCODING\b", upper):
            script.edits.append((*span, b"SET client_encoding = 'UTF8';"))


def _needs(text: str, upper: str) -> list[tuple[str, str]]:
    """Return what a statement needs; ``upper`` is its text with words in capital letters."""

    def name(start: int, end: int) -> str:
        return _plain(text[start:end])

    for pattern, kind in _NEEDS.items():
        if found := pattern.match(upper):
            return _named(kind, name(*found.span(1)))
    if found := _SETTING.match(upper):
        space = found[1] == "DEFAULT_TABLESPACE"
        value = name(*found.span(2 if space else 1))
        return _named("tablespace" if space else "setting", value)
    if _RIGHTS.match(upper):
        named = [text[slice(*found.span(1))].split(" , ") for found in _GRANTEES.finditer(upper)]
        roles = [_plain(role.split(" ")[-1]) for group in named for role in group]
        return [need for role in roles for need in _named("role", role)]
    return []


def _named(kind: str, name: str) -> list[tuple[str, str]]:
    everybody = kind == "role" and name.upper() in _EVERYBODY
    return [(kind, name)] if name and not everybody else []


def _plain(token: str) -> str:
    """Return the name that a token means."""
    if token[:1] in {'"', "'"}:
        return token[1:-1].replace(token[0] * 2, token[0])
    return token.lower()
