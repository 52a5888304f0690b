"""Takes secrets out of a text, however they are spelled there."""

from __future__ import annotations

import base64
import functools
import html
import re
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Redaction", "is_secret"]

GONE = "[secret]"

_NAME = re.compile(
    r"PASS(WORD|WD|PHRASE)?$|SECRET|TOKEN|CREDENTIAL|(^|_)KEYS?($|_)|_PWD$|_DSN$", re.IGNORECASE
)
_URL = re.compile(r"[\w+.-]+://[^\s/:@]*:([^\s/@]+)@")
# NAME=value, "NAME": "value", NAME: 'value' wherever a text shows one.
_ASSIGNMENT = re.compile(r"""["']?(\w+)["']?[ \t]*[:=][ \t]*("[^"\n]*"|'[^'\n]*'|[^\s,;}]+)""")
_HARMLESS = re.compile(r"(?i)\$\{.*|\$\w+|true|false|none|null|\[secret\].*|\W*")


def is_secret(name: str) -> bool:
    """Say whether a setting of this name holds a secret."""
    return _NAME.search(name) is not None


class Redaction:
    """Knows the secrets among ``settings``; finds more where a text names one."""

    def __init__(self, settings: Mapping[str, str], files: Iterable[str] = ()) -> None:
        named = (value for name, value in settings.items() if is_secret(name))
        urls = (_URL.findall(value) for value in settings.values())
        self._secrets = {*named, *files, *(found for url in urls for found in url)}

    def learn(self, text: str) -> None:
        """Take in what ``text`` itself calls a password, a key or a token."""
        for name, value in _ASSIGNMENT.findall(text):
            plain = value.strip("\"'")
            if is_secret(name) and not _HARMLESS.fullmatch(plain):
                self._secrets.add(plain)
        self._secrets.update(_URL.findall(text))

    def __call__(self, text: str) -> str:
        """Return ``text`` with ``[secret]`` in the place of each."""
        return _pattern(frozenset(self._secrets)).sub(GONE, text)


@functools.lru_cache(maxsize=1)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    spellings = {s for secret in {*secrets, *lines} if secret for s in _spellings(secret)}
    # The longest first: one secret may begin with another. Without any, what never matches.
    return re.compile("|".join(sorted(spellings, key=len, reverse=True)) or "(?!)")


def _spellings(secret: str) -> Iterator[str]:
    """Return patterns for the secret: its characters plain or escaped, all in base64 or hex."""
    yield "".join(f"(?:{'|'.join(dict.fromkeys(_escapes(character)))})" for character in secret)
    raw = secret.encode()
    yield f"(?i:{raw.hex()})"
    for shift in range(3):  # where it stands in what was encoded decides how it looks
        whole = base64.b64encode(bytes(shift) + raw)
        sure = whole[(8 * shift + 5) // 6 : (len(raw) + shift) * 8 // 6].decode()
        if len(sure) > 2:  # less would be found anywhere
            yield re.escape(sure).replace(r"\+", r"[+-]").replace("/", "[/_]")


def _escapes(character: str) -> Iterator[str]:
    """Return patterns for one character: in a URL, JSON, HTML, a shell, SQL, a Compose file.

    No two match the same: the search would try each way through the secret.
    """
    code, octets = ord(character), character.encode()
    doubled = "{1,2}" if character in "$'\"%" else ""  # Compose, SQL, YAML
    yield rf"\\{{0,4}}{re.escape(character)}{doubled}"  # JSON in JSON in a shell
    yield "".join(f"(?i:%{octet:02x})" for octet in octets)
    yield "".join(rf"\\+(?i:x{octet:02x})" for octet in octets)
    yield "".join(rf"\\+{octet:03o}" for octet in octets)
    yield "".join(rf"\\+(?i:u{unit:04x})" for unit in _utf16(character))
    yield rf"\\+(?:U(?i:{code:08x})" + (rf"|x(?i:{code:02x}))" if code < 256 else ")")
    yield rf"&#0*{code};|(?i:&#x0*{code:x};)"
    yield from [html.escape(character)] if character in '&<>"' else []
    yield from [r"\+"] if character == " " else []
    yield from [r"""'["\\]+'?"?'"""] if character == "'" else []
    yield from [r"\\+[nrt]"] if character in "\n\r\t" else []


def _utf16(character: str) -> Iterator[int]:
    data = character.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(data), 2):
        yield int.from_bytes(data[at : at + 2])
