"""Transfers of a database: one of PostgreSQL's programs piped into another.

A dump empties ``search_path`` (pg_dump's release notes, 10.3), so that a function of the database
which relies on the path fails while data is loaded: in a generated column, an index, a check. Such
a dump is loaded as SQL, with the path of its own database.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from composed.data.psql import Psql, last_lines, was_stopped
from composed.database import CHUNK, literal
from composed.gateway import Answer
from composed.terminal import Progress, say

_EMPTIED = re.compile(rb"^SELECT pg_catalog\.set_config\('search_path', '', false\);", re.MULTILINE)
_FIRST_OBJECT = re.compile(rb"^(?:CREATE (?!DATABASE )|COPY |INSERT ).*\n", re.MULTILINE)


def transfer(
    source: Psql,
    dump: list[str],
    target: Psql,
    restore: list[str],
    label: str,
    *,
    chunks: Iterable[bytes] = (),
    change: Callable[[Iterable[bytes]], Iterator[bytes]] = iter,
) -> Answer:
    """Pipe the command ``dump`` of one server into ``restore`` of another; return its answer.

    ``label`` stands before the progress; ``chunks`` are the stdin of ``dump``; ``change`` gets
    its output. Raises the error of a ``dump`` that failed first. A ``restore`` that ends before
    the output of ``dump`` does is the first: ``dump`` is killed. After the whole output the first
    is ``dump``: ``restore`` only misses the rest.
    """
    with source.gateway.pipe(dump, chunks) as pipe:
        output = iter(lambda: pipe.stdout.read1(CHUNK), b"")
        answer = target.feed(restore, change(output), Progress(label))
        if not answer.code or not next(output, b""):
            name = "pg_restore" if "pg_restore" in dump else "pg_dump"
            source.checked(name, pipe.end())
    return answer


def copy(
    source: Psql,
    database: str,
    target: Psql,
    place: str,
    label: str,
    *,
    empty: Callable[[], object],
    of_dump: Sequence[str] = (),
    of_restore: Sequence[str] = (),
) -> None:
    """Copy ``database`` into the database ``place`` of another server, which ``empty`` empties.

    The options ``of_restore`` are of pg_restore, and of a pg_dump that writes SQL. Raises the
    error of the program that failed.
    """
    empty()
    custom = (*of_dump, "--compress=0", "--format=custom", "--dbname", database)
    dump = source.program("pg_dump", *custom)
    restore = target.program("pg_restore", *of_restore, "--exit-on-error", "--dbname", place)
    answer, program = transfer(source, dump, target, restore, label), "pg_restore"
    if is_worth_a_second_try(answer):
        path = search_path(source, database)
        say_second_try(answer, path)
        empty()
        dump = source.program("pg_dump", *of_dump, *of_restore, "--dbname", database)
        restore, program = target.command(place, "--output", "/dev/null"), "psql"
        answer = transfer(source, dump, target, restore, label, change=with_search_path(path))
    target.checked(program, answer)


def search_path(psql: Psql, database: str) -> str:
    """Return the ``search_path`` with which a session of the database begins."""
    return psql.sql("SHOW search_path;", database).strip()


def is_worth_a_second_try(first: Answer) -> bool:
    """Return whether ``search_path`` may be the reason of a failure: a name was not found.

    A server in another language than English writes no ERROR.
    """
    if not first.code or was_stopped(first):
        return False
    return "does not exist" in first.err or "ERROR:" not in first.err


def say_second_try(first: Answer, path: str) -> None:
    """Tell the user why a dump is loaded a second time."""
    reason = next(iter(last_lines(first.err)), "no reason given")
    say(f"A first try failed ({reason}). Again, with search_path {path} …")


def with_search_path(path: str) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """Return a function that gives the head of an SQL dump this ``search_path``."""
    line = f"SELECT pg_catalog.set_config('search_path', {literal(path)}, false);".encode()

    def changed(chunks: Iterable[bytes]) -> Iterator[bytes]:
        head, rest = b"", iter(chunks)
        for chunk in rest:
            head += chunk
            if (first := _FIRST_OBJECT.search(head)) or len(head) > CHUNK:
                end = first.start() if first else len(head)
                yield _EMPTIED.sub(lambda _: line, head[:end]) + head[end:]
                yield from rest
                return
        yield _EMPTIED.sub(lambda _: line, head)

    return changed
