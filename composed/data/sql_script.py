"""SQL scripts, cut where psql cuts them: into statements, meta-commands and the data of COPY.

The lexical rules are those of psql (``psqlscan.l``). A script of any size is read piece by piece.
What is complete within a piece is skipped by a single regular expression.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

COUNTED = 4  # words that show that a statement makes a function
KEPT = 1 << 16  # bytes of a long statement that are kept

_LETTER = r"A-Za-z_\x80-\xff"
_WORD = rf"[{_LETTER}][{_LETTER}0-9$]*+"
_COMMENT = r"--[^\n\r]*+(?=[\n\r])|/\*[^*/]*+(?:(?!\*/|/\*)[*/][^*/]*+)*+\*/"
_STRING = r"'[^']*+'"
_ESCAPED = r"'(?:[^'\\]++|\\.|'')*+'(?=[^'])"
_PLAIN = r"(?:[bBxX]|[uU]&)'"  # opens a text without escapes, whatever the setting
_DOLLAR = rf"(?P<tag>\$(?:[{_LETTER}][{_LETTER}0-9]*+)?\$)[^$]*+(?:(?!(?P=tag))\$[^$]*+)*+(?P=tag)"

_BLANK = re.compile(rf"(?:[ \t\n\r\f\v]++|{_COMMENT})*+".encode("latin-1"))
_TAG = re.compile(rf"\$(?:[{_LETTER}][{_LETTER}0-9]*+)?\$".encode("latin-1"))
_PLAIN_OPENER = re.compile(_PLAIN.encode())
_WHOLE_WORD = re.compile(rf"{_WORD}(?=.)".encode("latin-1"), re.DOTALL)
_IN_ESCAPED = re.compile(rb"(?:[^'\\]++|\\.|'')*+", re.DOTALL)
_NESTED = re.compile(rb"/\*|\*/")
_COMMENTS = (b"--", b"/*")
_NO_WORDS = (b"u&", b"n'")  # psql counts none: xufailed, xnstart
_LINE_END = re.compile(rb"[\n\r]")
_DATA_END = re.compile(rb"\\\.\r?\n")
_REST_OF_LINE = re.compile(rb"[ \t\r\f\v]*(?:--.*)?")

# Such a function may have a body of statements: BEGIN ATOMIC … END.
_FUNCTION = re.compile("create (or replace )?(function|procedure) ")
# The only form in which a change of how psql reads quotes is followed: that of pg_dump.
STANDARD = re.compile(
    "SET (?:SESSION )?standard_conforming_strings (?:=|TO) "
    + "'?(on|off|true|false|yes|no|0|1)'?(?: ;)?",
    re.IGNORECASE,
)
_OFF = {"off", "false", "no", "0"}


@dataclass(frozen=True)
class Statement:
    """A statement or a meta-command: bytes ``start`` to ``end``.

    ``text`` is the statement without comments and meta-commands, up to ``KEPT`` bytes.
    INSERT statements in a row are a single one, without text if none can call set_config.
    ``escapes``: a backslash has a meaning in every string.
    """

    start: int
    end: int
    line: int
    text: bytes
    escapes: bool = False

    def tokens(self) -> list[str]:
        """Return the words, signs and quoted texts of the statement."""
        return list(tokens(self.text.decode(errors="replace"), escapes=self.escapes))


class CutOffError(Exception):
    """The script ends in the middle of a text."""


def statements(chunks: Iterable[bytes]) -> Iterator[Statement]:
    """Yield the statements of a script; raise :class:`CutOffError` where a text has no end."""
    scanner = _Scanner()
    for chunk in chunks:
        yield from scanner.feed(chunk)
    yield from scanner.feed(b"\n")
    yield from scanner.end()


def tokens(text: str, *, escapes: bool) -> Iterator[str]:
    """Yield the words, signs and quoted texts of a text that may be cut off at its end."""
    place = 0
    while found := _token(escapes=escapes).match(text, place):
        place, depth = found.end(), int(found[0] == "/*")
        while depth:
            edge = re.compile(r"/\*|\*/|\Z").search(text, place)
            place = edge.end() if edge else len(text)
            depth = depth + {"/*": 1, "*/": -1}[edge[0]] if edge and edge[0] else 0
        if found["token"]:
            yield found["token"]


@cache
def _token(*, escapes: bool) -> re.Pattern[str]:
    letter = r"A-Za-z_\x80-\U0010ffff"
    escaped = r"'(?:[^'\\]|\\.|'')*+(?:'|\Z)"
    plain = r"'(?:[^']|'')*+(?:'|\Z)"
    tag = rf"(?P<tag>\$(?:[{letter}][{letter}0-9]*+)?\$)"
    return re.compile(
        rf"\s+|--[^\n\r]*+|/\*|(?P<token>[eE]{escaped}|(?:[uU]&)?{escaped if escapes else plain}"
        + rf'|"(?:[^"]|"")*+(?:"|\Z)|{tag}(?:(?!(?P=tag)).)*+(?:(?P=tag)|\Z)'
        + rf"|[{letter}][{letter}0-9$]*+|[0-9]++|.)",
        re.DOTALL,
    )


@cache
def _tokens(*, words: bool, escapes: bool, comments: bool = False) -> re.Pattern[bytes]:
    """Return the pattern of tokens that are whole, so that the next byte begins another token.

    Without ``words`` the match ends before a word, without ``comments`` before a comment;
    ``escapes`` gives the backslash a meaning in every string.
    """
    flat = (
        r"[^A-Za-z_\x80-\xff:'\"$;\\/()\-]++"
        + rf"|::|:[{_LETTER}0-9]*+(?=.)"
        + (rf"|(?![eE]'|{_PLAIN}|[uU]&\Z){_WORD}(?=.)" if words else "")
        + rf"|{_PLAIN}[^']*+'|{_ESCAPED if escapes else _STRING}|[eE]{_ESCAPED}|\"[^\"]*+\""
        + rf"|/(?=[^*])|-(?=[^-]){f'|{_COMMENT}' if comments else ''}"
        + rf"|\$(?=[^{_LETTER}$])|\$(?=[{_LETTER}][{_LETTER}0-9]*+[^{_LETTER}0-9$])"
    )
    if not words:
        return re.compile(rf"(?:{flat}|{_DOLLAR})*+".encode("latin-1"), re.DOTALL)
    inner = rf"\((?:{flat})*+\)"
    outer = rf"\((?:{flat}|{inner})*+\)"
    return re.compile(rf"(?:{flat}|{outer}|{_DOLLAR})*+".encode("latin-1"), re.DOTALL)


def _insert(*, escapes: bool) -> bytes:
    rest = _tokens(words=True, escapes=escapes, comments=True).pattern.decode("latin-1")
    insert = rf"[Ii][Nn][Ss][Ee][Rr][Tt](?=[ \t\n]){rest};"
    return rf"(?:[ \t\n\r\f\v]++|{_COMMENT})*+({insert})".encode("latin-1")


@cache
def _inserts(*, escapes: bool) -> re.Pattern[bytes]:
    return re.compile(rb"(?:" + _insert(escapes=escapes) + rb")++", re.DOTALL)


class _Scanner:
    def __init__(self) -> None:
        self._rest, self._base = b"", 0  # the unread bytes, and their place in the script
        self._counted, self._line = 0, 1  # the place up to which lines are counted
        self._inside, self._since = b"", 0  # what begins the text that is open, and its line
        self._depth = 0  # of comments in comments
        self._line_begins = False  # of data
        self._escapes = False
        self._begin()

    def _begin(self) -> None:
        self._start, self._start_line, self._text = -1, 0, b""
        self._kept = 0  # the place up to which the text is kept
        self._words: list[str] = []
        self._parentheses = self._blocks = 0

    def feed(self, chunk: bytes) -> Iterator[Statement]:
        """Yield the statements that end within the chunk."""
        buffer = self._rest + chunk
        place = yield from self._read(buffer)
        self._keep(buffer, place)
        self._line_at(buffer, place)
        self._rest, self._base = buffer[place:], self._base + place

    def _read(self, buffer: bytes) -> Generator[Statement, None, int]:
        """Yield statements; return the place from which more bytes are needed."""
        place = 0
        while True:
            if self._inside:
                place = self._leave(buffer, place)
                if self._inside:
                    return place
            if self._start < 0:
                for rows in self._rows(buffer, place):
                    yield rows
                    place = rows.end - self._base
                place = self._begin_statement(buffer, place)
            place = self._skip(buffer, place)
            if buffer[place : place + 1] == b"\\":
                self._keep(buffer, place)
                command = self._command(buffer, place)
                if not command:
                    return place
                yield command
                self._leave_out(command.end)
                place = command.end - self._base
                continue
            before, place = place, self._step(buffer, place)
            if place == before:
                return place
            if buffer[before:place] == b";" and not (self._parentheses or self._blocks):
                yield self._finish(buffer, place)

    def _rows(self, buffer: bytes, place: int) -> Iterator[Statement]:
        """Yield the INSERT statements in a row: all as one, or each with its text."""
        found = _inserts(escapes=self._escapes).match(buffer, place)
        lower = found[0].lower() if found else b""
        if found and b"set_config" not in lower and b'u&"' not in lower:
            yield self._statement(buffer, place, found.end(), b"")
        elif found:
            for one in re.compile(_insert(escapes=self._escapes), re.DOTALL).finditer(found[0]):
                yield self._statement(buffer, place + one.start(1), place + one.end(), one[1])

    def _command(self, buffer: bytes, place: int) -> Statement | None:
        """Return the meta-command at ``place``, which ends with its line; None for a part."""
        if (end := buffer.find(b"\n", place)) < 0:
            return None
        command = self._statement(buffer, place, end, buffer[place:end].rstrip(b"\r"))
        if self._start == command.start:  # the command stands alone
            self._begin()
        return command

    def _statement(self, buffer: bytes, place: int, end: int, text: bytes) -> Statement:
        line = self._line_at(buffer, place)
        return Statement(self._base + place, self._base + end, line, text, self._escapes)

    def _skip(self, buffer: bytes, place: int) -> int:
        """Return the place after tokens without a meaning here."""
        words = len(self._words) >= COUNTED and not self._is_function()
        found = _tokens(words=words, escapes=self._escapes).match(buffer, place)
        return found.end() if found else place

    def end(self) -> Iterator[Statement]:
        """Yield a last statement without semicolon, which psql runs too."""
        if self._inside or b"\\" in self._rest[:1]:
            what = "data" if self._inside == b"COPY" else "text"
            raise CutOffError(f"the {what} that begins in line {self._since} has no end")
        if self._start >= 0:
            yield self._finish(self._rest, len(self._rest))

    def _begin_statement(self, buffer: bytes, place: int) -> int:
        found = _BLANK.match(buffer, place)
        place = found.end() if found else place
        if buffer[place : place + 2] not in {b"", b"-", b"/", b"--", b"/*"}:  # of a comment
            self._start = self._base + place
            self._start_line = self._line_at(buffer, place)
        return place

    def _step(self, buffer: bytes, place: int) -> int:
        """Return the place after a sign, a word or the beginning of a text; 0 steps in doubt."""
        sign = buffer[place : place + 1]
        if sign in {b"(", b")", b";"}:
            if sign != b";":
                self._parentheses = max(0, self._parentheses + (1 if sign == b"(" else -1))
            return place + 1
        if opener := self._opener(buffer, place):
            self._keep(buffer, place)
            self._inside, self._since = opener, self._line_at(buffer, place)
            self._depth = 1
            if plain := _PLAIN_OPENER.match(buffer, place):
                return plain.end()
            escaped = opener == b"E" and sign != b"'"
            return place + (2 if escaped else len(opener))
        word = _WHOLE_WORD.match(buffer, place)
        if word and buffer[place:].lower() != b"u&":  # a quote may follow
            if buffer[place : word.end() + 1].lower() not in _NO_WORDS:
                self._count(word[0].decode("latin-1").lower())
            return word.end()
        return place

    def _opener(self, buffer: bytes, place: int) -> bytes:
        """Return the sign that opens a text here; ``E`` for a text with escapes."""
        two = buffer[place : place + 2]
        if two in {b"--", b"/*"}:
            return two
        if _PLAIN_OPENER.match(buffer, place):
            return b"'"
        if two in {b"e'", b"E'"} or (two[:1] == b"'" and self._escapes):
            return b"E"
        if two[:1] in {b"'", b'"'}:
            return two[:1]
        tag = _TAG.match(buffer, place)
        return tag[0] if tag else b""

    def _count(self, word: str) -> None:
        if len(self._words) < COUNTED:
            self._words.append(word)
        if self._is_function() and not self._parentheses:
            if word == "begin" or (word == "case" and self._blocks):
                self._blocks += 1
            elif word == "end" and self._blocks:
                self._blocks -= 1

    def _is_function(self) -> bool:
        return _FUNCTION.match(" ".join([*self._words, ""])) is not None

    def _finish(self, buffer: bytes, end: int) -> Statement:
        self._keep(buffer, end)
        done = Statement(self._start, self._base + end, self._start_line, self._text, self._escapes)
        if self._words[:1] == ["copy"] and _copies_in(done.tokens()):
            self._inside, self._since = b"COPY", self._line_at(buffer, end)
            self._line_begins = False
        elif self._words[:1] == ["set"] and (found := STANDARD.fullmatch(" ".join(done.tokens()))):
            self._escapes = found[1].lower() in _OFF
        self._begin()
        return done

    def _keep(self, buffer: bytes, end: int) -> None:
        """Keep the text up to ``end``, without the comment that is open."""
        if self._start >= 0 and self._inside not in _COMMENTS:
            begin = max(self._start, self._kept) - self._base
            self._text += buffer[begin : min(end, begin + KEPT - len(self._text))]
        self._kept = self._base + end

    def _leave_out(self, end: int) -> None:
        """Have a blank in the text for what ends at the place ``end`` of the script."""
        self._kept = end
        if 0 < len(self._text) < KEPT:
            self._text += b" "

    def _line_at(self, buffer: bytes, place: int) -> int:
        self._line += buffer.count(b"\n", self._counted - self._base, place)
        self._counted = self._base + place
        return self._line

    def _leave(self, buffer: bytes, place: int) -> int:
        """Return the place after the open text, or the place from which more is needed."""
        comment = self._inside in _COMMENTS
        place = self._after_text(buffer, place)
        if comment and not self._inside:
            self._leave_out(self._base + place)
        return place

    def _after_text(self, buffer: bytes, place: int) -> int:
        if self._inside == b"COPY":
            return self._leave_data(buffer, place)
        if self._inside == b"E":
            end = _IN_ESCAPED.match(buffer, place).end()  # type: ignore[union-attr]
            if buffer[end : end + 1] != b"'" or end + 1 == len(buffer):
                return end
            end += 1
        elif self._inside == b"/*":
            end = place
            while self._depth and (found := _NESTED.search(buffer, end)):
                self._depth += 1 if found[0] == b"/*" else -1
                end = found.end()
            if self._depth:
                return max(end, len(buffer) - 1)
        elif self._inside == b"--":
            line_end = _LINE_END.search(buffer, place)
            if not line_end:
                return len(buffer)
            end = line_end.start()
        else:
            found_at = buffer.find(self._inside, place)
            if found_at < 0:
                return max(place, len(buffer) - len(self._inside) + 1)
            end = found_at + len(self._inside)
        self._inside = b""
        return end

    def _leave_data(self, buffer: bytes, place: int) -> int:
        if not self._line_begins:  # the rest of the line of COPY
            line_end = buffer.find(b"\n", place)
            if line_end < 0:
                return place
            if not _REST_OF_LINE.fullmatch(buffer, place, line_end):
                line = self._line_at(buffer, place)
                raise CutOffError(f"in line {line} a statement follows COPY, before its data")
            place, self._line_begins = line_end, True
        while (found := buffer.find(b"\n\\.", place)) >= 0:
            if end := _DATA_END.match(buffer, found + 1):
                self._inside = b""
                return end.end()
            if found + 5 > len(buffer):
                return found
            place = found + 1
        return max(place, len(buffer) - 2)


def _copies_in(words: list[str]) -> bool:
    """Say whether a statement whose first word is COPY reads the lines that follow.

    The server refuses a sign or a text before COPY. The first FROM or TO outside parentheses
    tells; STDOUT too means the client.
    """
    depth = 0
    for word, following in zip(words, [*words[1:], ""], strict=True):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if not depth and word.lower() in {"from", "to"}:
            begins = (words[0].lower(), word.lower()) == ("copy", "from")
            return begins and following.lower() in {"stdin", "stdout"}
    return False
