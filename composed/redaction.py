"""Takes secrets out of a text, in every spelling that logs and configuration have."""

import base64
import functools
import html
import re
from collections.abc import Iterable, Iterator, Mapping

_NAME = re.compile(
    r"(?i)PASS(WORD|WD|PHRASE)?$|SECRET|TOKEN|CREDENTIAL|(^|_)KEYS?($|_)|_PWD$|_DSN$"
)
_URL = re.compile(r"[\w+.-]+://[^\s/:@]*:([^\s/@]+)@")
# NAME=value, "NAME": "value", NAME: 'value' anywhere in a text.
_ASSIGNMENT = re.compile(r"""["']?(\w+)["']?[ \t]*[:=][ \t]*("[^"\n]*"|'[^'\n]*'|[^\s,;}]+)""")
_HARMLESS = re.compile(r"(?i)\$\{.*|\$\w+|true|false|none|null|\[secret\].*|\W*")


def is_secret(name: str) -> bool:
    """Return whether a setting of this name holds a secret."""
    return _NAME.search(name) is not None


class Redaction:
    """Knows the secrets among ``settings`` and ``files``; learns more from texts."""

    def __init__(self, settings: Mapping[str, str], files: Iterable[str] = ()) -> None:
        named = (value for name, value in settings.items() if is_secret(name))
        urls = (password for value in settings.values() for password in _URL.findall(value))
        self._secrets = {*named, *files, *urls}

    def learn(self, text: str) -> None:
        """Add the values that ``text`` assigns to a password, a key or a token."""
        for name, value in _ASSIGNMENT.findall(text):
            plain = value.strip("\"'")
            if is_secret(name) and not _HARMLESS.fullmatch(plain):
                self._secrets.add(plain)
        self._secrets.update(_URL.findall(text))

    def __call__(self, text: str) -> str:
        """Return ``text`` with ``[secret]`` in the place of each secret."""
        return _pattern(frozenset(self._secrets)).sub("[secret]", text)


@functools.lru_cache(maxsize=1)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    spellings = {s for secret in {*secrets, *lines} if secret for s in _spellings(secret)}
    # The longest first: a secret may begin with a shorter secret. "(?!)" never matches.
    return re.compile("|".join(sorted(spellings, key=len, reverse=True)) or "(?!)")


def _spellings(secret: str) -> Iterator[str]:
    """Yield patterns for the secret: each character plain or escaped, or all in base64 or hex."""
    yield "".join(f"(?:{'|'.join(_escapes(character))})" for character in secret)
    raw = secret.encode()
    yield f"(?i:{raw.hex()})"
    for shift in range(3):  # bytes before the secret shift the base64 digits
        digits = base64.b64encode(bytes(shift) + raw)
        sure = digits[(8 * shift + 5) // 6 : (len(raw) + shift) * 8 // 6].decode()
        if len(sure) > 2:  # shorter texts match everywhere
            yield re.escape(sure).replace(r"\+", r"[+-]").replace("/", "[/_]")


def _escapes(character: str) -> Iterator[str]:
    """Yield patterns for a character in a URL, JSON, YAML, HTML, Python, a shell, SQL.

    No two match the same text: the search would try every way through the secret.
    """
    code, octets = ord(character), character.encode()
    units = character.encode("utf-16-be").hex(" ", 2).split()
    doubled = "{1,2}" if character in "$'\"%" else ""  # Compose, SQL, YAML
    yield rf"\\{{0,4}}{re.escape(character)}{doubled}"  # JSON in JSON in a shell
    yield "".join(f"(?i:%{octet:02x})" for octet in octets)
    yield "".join(rf"\\+(?i:x{octet:02x})" for octet in octets)
    yield "".join(rf"\\+{octet:03o}" for octet in octets)
    yield "".join(rf"\\+(?i:u{unit})" for unit in units)
    yield rf"\\+(?:U(?i:{code:08x})" + (rf"|x(?i:{code:02x}))" if 127 < code < 256 else ")")
    yield rf"&#0*{code};|(?i:&#x0*{code:x};)"
    yield from [html.escape(character)] if character in '&<>"' else []
    yield from [r"\+"] if character == " " else []
    yield from [r"""'["\\]+'?"?'"""] if character == "'" else []
    yield from [r"\\+[nrt]"] if character in "\n\r\t" else []
