"""Mangles a file, seeded: other bytes, other values, or another thing in the file's place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.samples import make_socket

Mangle = Callable[[Random, Path], object]

DEEP = 10_000
# Texts of JSON in place of a value; json.dumps cannot write all of them.
VALUES = (
    *("null", "true", "1.5", "-1", "0", "1e999", "NaN", "-Infinity", "9" * 400, "9" * 5000),
    *('""', '"\\ud800"', '"a\\u0000b"', '"\\u001b[31m"', '"/"', '"../../x"', f'"{"x" * 70000}"'),
    *("[]", "{}", "[1]", '["\\ud800"]', '{"a": null}', '{"a": -1}', '{"\\udfff": 1}', '[[["a"]]]'),
    *("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP),
)
# Values in an env file, folders in its comment on the origin, and values in TOML.
SETTINGS = (
    *("", "\ud800", "\0", '"', "'x", "${", "$(x)", "x" * 70000, " " * 70000, "-1", "\r", "x # y"),
    *("/dev/zero", "../..", '"\\u0000"', "é", "\x1b[31m", "9" * 400, "a\u2028b"),
)
ORIGINS = ("\\u0000", "\\ud800", "/dev", "/nowhere", "a" * 9000, "\\u001b", "\\q", "..", "/\\n")
KEYS = (
    *('"\\u0000"', "1", "[]", "[1]", "{}", "{ a = 1 }", "true", "nan", '"/dev/zero"', '""'),
    *("[" * DEEP + "]" * DEEP, '["\\u0000"]', '{ "a\\u0000" = "b" }', '"../.."', "1e999"),
    *('["/dev/zero"]', '["fifo"]', '"no-such"', "9" * 5000, "1979-05-27", f'"{"x" * 9999}"'),
)
TEXTS = (
    *(b"\xff" * 100, b"\0" * 100, b"[" * DEEP, b"{" * DEEP, b"\xed\xa0\x80", b"\n" * 5000),
    *(b" " * 20000, b"\x1b]0;x\a", b"=" * 20000, b"\xef\xbb\xbf"),
)
PLACE = "\ufffc"  # of a value that is written afterwards


def other_value(random: Random, file: Path) -> None:
    """Give a field of a JSON object another value, or leave the field out."""
    values: dict[str, Any] = json.loads(file.read_text())
    name = random.choice([*values])
    if random.random() < 0.1:
        del values[name]
    values[name if random.random() < 0.9 else "new"] = PLACE
    text = json.dumps(values, ensure_ascii=False).replace(f'"{PLACE}"', random.choice(VALUES))
    file.write_text(text)


def whole_value(random: Random, file: Path) -> None:
    file.write_text(random.choice(VALUES))


def other_setting(random: Random, file: Path) -> None:
    """Give a line NAME=value another value, or add a line, or another origin."""
    lines = file.read_text().splitlines() or [""]
    number = random.randrange(len(lines))
    origin = '# The folder of this stack, by which inv tells a copy: "{}"'
    odd = f"{lines[number].partition('=')[0]}={random.choice(SETTINGS)}"
    odd = random.choice((origin.format(random.choice(ORIGINS)), odd, odd))
    lines[number : number + random.randrange(2)] = [odd]
    file.write_bytes("\n".join([*lines, ""]).encode(errors="surrogatepass"))


def other_key(random: Random, file: Path) -> None:
    """Give a key of ``[tool.composed]`` another value."""
    text = file.read_text()
    _, start, rest = text.partition("[tool.composed]\n")
    table, end, _ = rest.partition("\n[")
    lines = table.splitlines()
    number = random.randrange(len(lines))
    lines[number] = f"{lines[number].partition('=')[0]}= {random.choice(KEYS)}"
    file.write_text(text.replace(start + table + end, start + "\n".join(lines) + "\n" + end, 1))


def other_bytes(random: Random, file: Path) -> None:
    data = file.read_bytes() or b"x"
    at, count = random.randrange(len(data)), random.randrange(1, 200)
    odd = (random.randbytes(count), b"\0" * count, b"\xff\xfe", b"\xed\xa0\x80", b"\r\n" * count)
    file.write_bytes(data[:at] + random.choice(odd) + data[at + random.randrange(count) :])


def cut(random: Random, file: Path) -> None:
    size = file.stat().st_size
    os.truncate(file, random.choice((0, 1, size // 2, max(size - 1, 0))))


def other_text(random: Random, file: Path) -> None:
    data = file.read_bytes()
    windows = (b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"))
    file.write_bytes(random.choice((*TEXTS, *windows, random.randbytes(5000))))


def huge(_: Random, file: Path) -> None:
    os.truncate(file, 40 << 30)  # without a block of the disk


def pipe(_: Random, file: Path) -> None:
    _away(file)
    os.mkfifo(file)


def listener(_: Random, file: Path) -> None:
    _away(file)
    make_socket(file)


def folder(random: Random, file: Path) -> None:
    _away(file)
    file.mkdir()
    if random.random() < 0.5:
        (file / "inner").write_text("kept")


def link(random: Random, file: Path) -> None:
    """Put a link in the file's place: to a device, to nothing, to itself, to a folder."""
    _away(file)
    targets = ("/dev/zero", "/dev/null", "/dev/tty", "nowhere", "no/where", file.name, ".", "/proc")
    file.symlink_to(random.choice((*targets, "/proc/self/mem", "/dev/stdin", "/dev/full")))


def locked_up(random: Random, file: Path) -> None:
    """Take rights; without effect on root."""
    file.chmod(random.choice((0, 0o200, 0o400)))


def _away(file: Path) -> None:
    file.rename(file.with_name(f"{file.name}.away"))
    away = file.with_name(f"{file.name}.away")
    if not file.name.startswith((".env", "pyproject")) and away.is_file():
        away.unlink()


THINGS: tuple[Mangle, ...] = (pipe, listener, folder, link, locked_up)
BYTES: tuple[Mangle, ...] = (other_bytes, cut, other_text, huge)
JSON: tuple[Mangle, ...] = (other_value, other_value, other_value, whole_value)


def mangles_of(file: Path) -> tuple[Mangle, ...]:
    """Return the ways to mangle the file, by its kind."""
    if file.is_dir():
        return (pipe, listener, link, locked_up)
    if file.suffix == ".json":
        return (*JSON, *BYTES, *THINGS)
    if file.suffix == ".toml":
        return (other_key, other_key, other_key, *BYTES, *THINGS)
    if re.match(r"\.env", file.name):
        return (other_setting, other_setting, other_setting, *BYTES, *THINGS)
    if ".sqlite3" in file.name:  # may be large: a large dump is copied
        return (*BYTES[:-1], *BYTES[:-1], *THINGS)
    return (*BYTES, *THINGS)
