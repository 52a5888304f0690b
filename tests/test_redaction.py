"""No secret is left in a text, in any spelling."""

import base64
import html
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from composed.redaction import Redaction

SECRETS = [
    *("plain-Enough_09", "p@ss w0rd/+=%", "Größe&€\"'\\$HOME$$", "aaaaa", "abc"),
    *("tab\tand\nline", "🙂key🙂", "100%sure<>", r"back\\slash\n"),
]

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": quote,
    "url, every sign": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "json": json.dumps,
    "json, unicode": lambda secret: json.dumps(secret, ensure_ascii=False),
    "json in json": lambda secret: json.dumps(json.dumps(secret)),
    "python": repr,
    "python, ascii": ascii,
    "python, bytes": lambda secret: repr(secret.encode()),
    "octal": lambda secret: "".join(rf"\\{octet:03o}" for octet in secret.encode()),
    "html": html.escape,
    "shell": shlex.quote,
    "compose": lambda secret: secret.replace("$", "$$"),
    "sql": lambda secret: secret.replace("'", "''"),
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64, shifted by one": lambda secret: base64.b64encode(b"u" + secret.encode()).decode(),
    "base64, of a login": lambda secret: base64.b64encode(f"me:{secret}:x".encode()).decode(),
    "base64, for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_taken_out_in_every_spelling(secret: str, spelling: str) -> None:
    spelled = SPELLINGS[spelling](secret)

    cleaned = Redaction({"DB_PASSWORD": secret})(f"before ({spelled}) after")

    assert spelled not in cleaned
    assert cleaned.startswith("before (")
    assert cleaned.endswith(") after")
    assert "[secret]" in cleaned


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "POSTGRES_PASSWORD", "DB_PASS", "API_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASS"],
)
def test_a_setting_is_secret_by_name(name: str) -> None:
    assert Redaction({name: "hunter2"})("hunter2") == "[secret]"


def test_settings_that_are_no_secret_stay() -> None:
    settings = {"POSTGRES_DB": "task_db", "SECRET_KEY": "", "KEYBOARD": "de", "DEBUG": "true"}

    assert Redaction(settings)("task_db de true") == "task_db de true"


def test_the_longer_of_two_secrets_is_taken_out_whole() -> None:
    redact = Redaction({"A_TOKEN": "abc", "B_TOKEN": "abcdef"})

    assert redact("abcdef abc") == "[secret] [secret]"


@pytest.mark.parametrize(
    "text",
    [
        *("DB_PASSWORD: hunter2", "DB_PASSWORD=hunter2", '"password": "hunter2"'),
        *("token = 'hunter2'", "postgres://me:hunter2@db/app"),
    ],
)
def test_a_secret_that_a_text_assigns_is_taken_out(text: str) -> None:
    redact = Redaction({})
    redact.learn(text)

    assert "hunter2" not in redact(f"{text} and hunter2 again")


def test_a_text_that_only_names_a_secret_stays() -> None:
    text = "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?type inv env}\nSECRET_KEY=\nUSE_TOKEN: true"
    redact = Redaction({})
    redact.learn(text)

    assert redact(text) == text
