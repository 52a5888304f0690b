"""The statements of an SQL dump that a restore cannot run, or not here."""

import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from composed.data.sql_script import KEPT, STANDARD, Statement, statements, tokens

_CAPITALS = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_NAME = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^\s;]+)"""
_WORD = re.compile(r"[^\W\d][\w$]*")
_SHORT = re.compile(r"[^\W\d][\w$]*|\d+|'[\w.]*'|.", re.DOTALL)
_KNOWN = {'"set_config"', '"pg_settings"', '"standard_conforming_strings"'}
# Without effect on the data: an answer on the screen, or how psql ends at an error. The
# restriction of psql is set by the restore itself.
_TALK = re.compile(
    r"\\(?:echo|qecho|warn|timing|pset|x|a|t|restrict|unrestrict"
    r"|set +(?:ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|VERBOSITY|ECHO|SHOW_CONTEXT)"
    r"|unset +(?:ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|ECHO))(?: [^\\`]*)?"
)
_ENCODING = re.compile(r"\\encoding +(\w+)")
_CLUSTER = (
    r"(?:CREATE|ALTER|DROP) (?:DATABASE|ROLE|USER (?!MAPPING )|GROUP|TABLESPACE|SYSTEM)\b"
    r"|(?:DROP|REASSIGN) OWNED\b|PREPARE TRANSACTION\b|(?:COMMIT|ROLLBACK) PREPARED\b"
)
_BEYOND = re.compile(
    rf"{_CLUSTER}|COPY .*\b(?:TO|FROM) PROGRAM\b|COPY .*\bTO '|(?:GRANT|REVOKE) (?!.*\bON\b)"
)
_SETTINGS = r"\bUPDATE (?:ONLY )?(?:\S+ \. )?\"?PG_SETTINGS\b"
_IN_DO = re.compile(
    rf"\b(?:{_CLUSTER})|\bCOPY [^;]*(?:TO|FROM) PROGRAM\b|{_SETTINGS}|STANDARD_CONFORMING_STRINGS"
    r"|\b(?:GRANT|REVOKE) (?:(?!\bON\b)[^;])*\b(?:TO|FROM)\b"
)
# These change how psql reads quotes, or may do so: where a text ends would be a guess.
_QUOTES = re.compile(
    r"(?:SET|ALTER|RESET) .*\bSTANDARD_CONFORMING_STRINGS\b|(?:SET|RESET) (?:\w+ )?U & \""
    rf"|(?!CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) ).*(?:{_SETTINGS}|\bU & \"\" \("
    r"|\bSET_CONFIG\"? \( (?!'(?!STANDARD_CONFORMING_STRINGS')[\w.]+' ,))"
)
_AS_BEFORE = re.compile(r"(?:RESET|DISCARD) ALL\b|(?:ROLLBACK|ABORT)\b")
# The look sees the beginning of a long statement; of the other statements, the end tells too.
_LONG = ("INSERT ", "CREATE ", "COMMENT ", "SELECT ", "UPDATE ")
_DEPTH = 9  # of quoted texts in quoted texts
# What pg_restore too leaves out without --create.
_OF_THE_DATABASE = re.compile(
    r"(?:COMMENT|SECURITY LABEL) (?:FOR \S+ )?ON (?:DATABASE|ROLE|TABLESPACE)\b"
    r"|(?:GRANT|REVOKE) .*\bON (?:DATABASE|TABLESPACE|PARAMETER)\b"
)
_TEXT = re.compile(
    r"(?:(?P<escaped>[eE])|[uU]&)?'(?P<text>.*?)'?|(?P<tag>\$\w*\$)(?P<dollars>.*?)(?P=tag)",
    re.DOTALL,
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

    The kinds: setting, role, tablespace, extension, function.
    """

    kind: str
    name: str
    start: int
    end: int


@dataclass
class Script:
    """What a look through a script found; ``edits`` are bytes to be replaced in any case."""

    empty: bool = True
    escapes: bool = False  # somewhere a backslash has a meaning in every string
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
        script.escapes = script.escapes or statement.escapes
        if not statement.text:
            script.empty, script.fills = False, True
        elif statement.text.startswith(b"\\"):
            _look_at_command(script, statement, transcoded)
        else:
            _look_at_statement(script, statement, transcoded)
        if script.beyond:
            break
    return script


def _look_at_command(script: Script, statement: Statement, transcoded: bool) -> None:
    line = statement.text.decode(errors="replace").strip().replace("\t", " ")
    span = (statement.start, statement.end)
    if _TALK.fullmatch(line):
        script.edits.append((*span, b""))
    elif found := _ENCODING.fullmatch(line):  # in SQL, which a restricted psql runs too
        name = "UTF8" if transcoded else found[1]
        script.edits.append((*span, f"SET client_encoding = '{name}';".encode()))
    else:
        script.beyond = (statement.line, line)


def _look_at_statement(script: Script, statement: Statement, transcoded: bool) -> None:
    raw, found = statement.text.decode(errors="replace"), statement.tokens()
    text, upper = " ".join(found), " ".join(map(_capitals, found))
    span = (statement.start, statement.end)
    script.empty = script.empty and text == ";"
    if _reaches_beyond(script, statement, found):
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


def _reaches_beyond(script: Script, statement: Statement, found: list[str]) -> bool:
    """Say whether a statement changes more than its database, or how psql reads quotes."""
    bare = " ".join(map(_bare, found))
    if len(statement.text) >= KEPT and not bare.startswith(_LONG):
        return True
    if bare.startswith("DO "):
        inner = _inner(found, escapes=statement.escapes)
        # 'CREATE ' || 'ROLE' too
        return _IN_DO.search(" ".join(_capitals(word) for word in inner if word != "|")) is not None
    if _BEYOND.match(bare) or (script.escapes and _AS_BEFORE.match(bare)):
        return True
    return _QUOTES.match(bare) is not None and not STANDARD.fullmatch(" ".join(found))


def _capitals(token: str) -> str:
    return token.translate(_CAPITALS) if _WORD.fullmatch(token) else token


def _bare(token: str) -> str:
    """Return a token in capital letters, and of a quoted text the quotes alone.

    Of quoted texts, only a short name of a setting or of what changes settings stays.
    """
    if _SHORT.fullmatch(token) or token.lower() in _KNOWN:
        return token.upper()
    return '""' if token.startswith('"') else "''"


def _inner(found: Iterable[str], *, escapes: bool, depth: int = _DEPTH) -> Iterator[str]:
    """Yield tokens, and in the place of a quoted text the tokens in the text."""
    for token in found:
        quoted = _TEXT.fullmatch(token) if depth else None
        if not quoted:
            yield token
            continue
        text = quoted["dollars"] or (quoted["text"] or "").replace("''", "'")
        if quoted["escaped"] or (escapes and not quoted["dollars"]):
            text = re.sub(r"\\(.)", lambda sign: " " if sign[1] in "nrt" else sign[1], text)
        yield from _inner(tokens(text, escapes=escapes), escapes=escapes, depth=depth - 1)


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
