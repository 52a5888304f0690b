"""A look through a script cuts where psql cuts: random scripts, compared with psql's own log."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from composed.data.sql_script import CutOffError, Statement, statements
from tests.stacks.copies import Copy
from tests.stacks.dumps import tar

SCRIPTS = 150
RUN = """\
d=$(mktemp -d); cd $d; tar -xf -; createdb -U cp_user rules; \
psql -q -U cp_user rules -c 'CREATE TABLE t (a text)'; \
for f in *.sql; do timeout 20 psql -X -q -U cp_user -d rules -L $f.log -o /dev/null -f $f \
>$f.out 2>/dev/null; cat $f.log; echo @@ECHO; cat $f.out; echo @@END; done; \
dropdb -U cp_user rules; rm -r $d
"""
QUERY = re.compile(r"\*{9} QUERY \*{10}\n(.*?)\n\*{26}\n", re.DOTALL)


def token(pick: random.Random) -> str:
    def many(*parts: str) -> str:
        return "".join(pick.choice(parts) for _ in range(pick.randrange(6)))

    words = ("a", "e", "E", "x1", "_b$c", "end", "case", "é", "U&", "N", "1.5 ", "::", ":v", "$")
    common = ("a", ";", "\n", "--", "/*", "\\")
    kinds: list[Callable[[], str]] = [
        lambda: pick.choice(words),
        lambda: pick.choice(("create function ", "create or replace procedure begin ", "CREATE ")),
        lambda: pick.choice("()=-/*[],"),
        lambda: ";",
        lambda: ";\n",
        lambda: "'" + many("''", "$$", '"', *common) + "'",
        lambda: "E'" + many("''", "\\'", "\\\\", "\\n", "a", ";", "\n", "--", "/*", '"') + "'",
        lambda: '"' + many('""', "'", "$$", *common) + '"',
        lambda: "$$" + many("'", '"', "$a$", *common) + "$$",
        lambda: "$a$" + many("'", '"', "$b$", "$$", "$a", *common) + "$a$",
        lambda: "--" + many("'", '"', "a", ";", "--", "/*", "$$", "\\") + "\n",
        lambda: "/*" + many("'", '"', "a", ";", "\n", "/* '*/", "*", "/ ", "$$") + "*/",
        lambda: f" \\echo M{pick.randrange(100)}\n",
        lambda: ";\nCOPY t FROM stdin;\n" + many("a\n", "\\\\.\n", "'\n", "$$\n") + "\\.\n",
        lambda: f";\nSET standard_conforming_strings = {pick.choice(('on', 'off'))};\n",
    ]
    return pick.choice(kinds)()


def found_in(script: bytes, size: int) -> list[Statement] | None:
    """Return the statements; None for a script that has no end, or another command than echo."""
    try:
        found = list(statements(script[n : n + size] for n in range(0, len(script), size)))
    except CutOffError:
        return None
    commands = [s.text for s in found if s.text.startswith(b"\\")]
    return found if all(re.fullmatch(rb"\\echo M\d+", text) for text in commands) else None


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_a_script_is_cut_where_psql_cuts_it(stack: Copy, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    pick = random.Random(seed)
    expected: list[tuple[bytes, list[Statement]]] = []
    while len(expected) < SCRIPTS:
        tokens = (token(pick) + pick.choice(("", " ", "\n", "")) for _ in range(3, 25))
        script = "".join(tokens).encode()
        if found := found_in(script, pick.choice((1, 2, 3, 7, 64, 1 << 20))):
            expected.append((script, found))
    files = {f"{n:04}.sql": script for n, (script, _) in enumerate(expected)}
    (tmp_path / "scripts.tar").write_bytes(tar(files, ""))
    words = f'docker exec --interactive {stack.project}-db-1 sh -c "$1" < {tmp_path}/scripts.tar'

    done = stack.run("sh", "-c", words, "sh", RUN)

    for (script, found), answer in zip(expected, done.stdout.split("@@END\n"), strict=False):
        log, _, echoed = answer.partition("@@ECHO\n")
        commands = [s for s in found if s.text.startswith(b"\\")]
        assert [s.text[6:].decode() for s in commands] == echoed.split(), script.decode()
        sent = [squeezed(query) for query in QUERY.findall(log)]
        for statement in (s for s in found if s not in commands):
            text, place = b"", statement.start
            for command in commands:
                if statement.start <= command.start < statement.end:
                    text, place = text + script[place : command.start], command.end
            text += script[place : statement.end]
            assert sent.pop(0).endswith(squeezed(text.decode())), script.decode()
        assert all(re.fullmatch(r"(--.*|/\*.*\*/)+", query) for query in sent), script.decode()
    assert len(done.stdout.split("@@END\n")) == SCRIPTS + 1
