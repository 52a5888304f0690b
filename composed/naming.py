"""The name of the program in texts: every text says ``inv VERB``, also where ``composed`` runs."""

import re
from collections.abc import Iterable

_names: dict[re.Pattern[str], str] = {}  # empty: the program is called inv


def call_program(name: str, verbs: Iterable[str]) -> None:
    """Let :func:`named` replace ``inv`` by this name where one of the verbs, or an option, follows.

    Elsewhere ``inv`` is a part of a path, or a word of a sentence.
    """
    words = "|".join(map(re.escape, sorted(verbs, reverse=True)))
    _names.clear()
    _names[re.compile(rf"(?<![\w./-])inv(?= (?:--[a-z]|(?:{words}|VERB)(?!-|\.?\w)))")] = name


def named(text: str) -> str:
    """Return the text with commands as the user of this program types them."""
    for pattern, name in _names.items():
        text = pattern.sub(name, text)
    return text
