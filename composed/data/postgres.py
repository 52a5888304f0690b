"""PostgreSQL, through its own programs inside the database's container."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from composed.calls import Calls
from composed.data.dump_file import sql_version
from composed.database import MADE_BY_MIGRATE, Database, Dump, Facts
from composed.errors import ComposedError, DataError, InputOutputError
from composed.process import Answer, Gateway
from composed.terminal import Progress

__all__ = ["PostgreSQL", "identifier", "literal"]

CHUNK = 1 << 20
LAST_LINES = 5
EVERY_CALL = "[0-9a-f]+"

# The rows of every table that a dump holds: those of an extension are made by it.
FACTS = """\
SELECT json_build_array('version', current_setting('server_version'));
SELECT format('SELECT json_build_array(''rows'', %L, count(*)) FROM ONLY %I.%I',
              nspname || '.' || relname, nspname, relname)
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relkind = 'r' AND relpersistence <> 't'
   AND nspname <> 'information_schema' AND nspname !~ '^pg_'
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                   AND objid = pg_class.oid AND deptype = 'e')
 ORDER BY nspname, relname \\gexec
SELECT 'SELECT json_build_array(''migration'', app || ''.'' || name)
          FROM django_migrations ORDER BY id'
 WHERE to_regclass('django_migrations') IS NOT NULL \\gexec
SELECT json_build_array('end', '');
"""

HAS_ROWS = """\
SELECT format('SELECT true WHERE EXISTS (SELECT FROM %I.%I)', schemaname, tablename)
  FROM pg_tables
 WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_' AND tablename NOT IN ({without})
\\gexec
"""

# Long idle on purpose, while pg_dump reads the same snapshot.
EXPORT = """\
SET idle_in_transaction_session_timeout = 0;
SET statement_timeout = 0;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot();
"""

CREATE = """\
SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L'
              ' LC_CTYPE %L CONNECTION LIMIT %s', {new}, pg_get_userbyid(datdba),
              pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit)
  FROM pg_database WHERE datname = {live} \\gexec
"""

# The settings of `ALTER DATABASE … SET` stay with the name.
SWAP = """\
ALTER DATABASE {live} WITH ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {live_text};
BEGIN;
UPDATE pg_db_role_setting SET setdatabase = (SELECT oid FROM pg_database WHERE datname = {new_text})
 WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = {live_text});
ALTER DATABASE {live} RENAME TO {old};
ALTER DATABASE {new} RENAME TO {live};
COMMIT;
"""

HEAL = """\
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname)
  FROM pg_database WHERE datname ~ '^composed_(new|old)_{call}$' \\gexec
ALTER DATABASE {live} WITH ALLOW_CONNECTIONS true;
"""


class PostgreSQL(Database):
    """The database ``name`` of a server whose programs ``inside`` makes a command of.

    ``swaps`` keeps a record while a new database stands beside the live one, so
    that the next verb can :meth:`heal` what a killed one left.
    """

    engine = "postgresql"

    def __init__(
        self, gateway: Gateway, inside: Callable[..., list[str]], user: str, name: str, swaps: Calls
    ) -> None:
        self._gateway, self._inside, self._swaps = gateway, inside, swaps
        self._user, self._name = user, name

    def check_version(self, version: str) -> None:
        """Ask the server: what a newer major wrote, an older one cannot read for sure."""
        server = self._sql("SHOW server_version;").strip()
        if version and _major(version) > _major(server):
            raise DataError(
                f"The data is from PostgreSQL {version}, the server is {server}.",
                f"Use the image postgres:{_major(version)} or a newer one, on a new volume.",
            )

    @property
    def commands(self) -> dict[str, list[str]]:
        """The command lines of ``pg_dump`` and ``pg_restore``."""
        return {"dump": self._pg_dump(), "restore": self._pg_restore("composed_new_dry")}

    # --- dump ----------------------------------------------------------------

    def dump(self, file: Path) -> tuple[Facts, str]:
        """Run ``pg_dump`` on a snapshot that a second session exports and counts in."""
        with self._gateway.pipe(self._psql(self._name)) as session:
            _write(session.stdin, EXPORT)
            exported = session.stdout.readline().decode().strip()
            if not exported:
                raise _failed("psql", session.end())
            _write(session.stdin, FACTS)
            checksum = self._dump(file, exported)
            facts = _read_facts(session.stdout)
            answer = session.end()
        if not facts:
            raise _failed("psql", answer)
        return facts, checksum

    def _dump(self, file: Path, snapshot: str) -> str:
        digest = hashlib.sha256()
        with (
            self._gateway.pipe(self._pg_dump(f"--snapshot={snapshot}")) as dump,
            file.open("wb") as target,
            Progress("Dumping") as progress,
        ):
            while chunk := dump.stdout.read1(CHUNK):
                target.write(chunk)
                digest.update(chunk)
                progress.add(len(chunk))
            answer = dump.end()
        if answer.code:
            raise _failed("pg_dump", answer)
        return f"sha256:{digest.hexdigest()}"

    # --- restore -------------------------------------------------------------

    def check(self, dump: Dump) -> None:
        """Have ``pg_restore`` read a custom dump's table of contents."""
        if dump.kind == "sql":
            self.check_version(sql_version(dump))
        else:
            listed = self._feed(self._inside("pg_restore", "--list"), dump.chunks())
            if listed.code:
                raise _unreadable(dump, listed)
            version = re.search(r"Dumped from database version: (\S+)", listed.out)
            if dump.foreign and version:  # a snapshot's manifest has it
                self.check_version(version[1])

    def replace(self, dump: Dump) -> Facts:
        """Restore into a new database, then rename: see :class:`Database`."""
        with self._beside() as new:
            self._load(dump, new)
            facts = self._facts(new)
            facts.check(dump.rows)
            self._swap(new)
        return facts

    def reset(self) -> None:
        """Swap in a new database with nothing in it."""
        with self._beside() as new:
            self._swap(new)

    def facts(self) -> Facts:
        """Return what the database holds now."""
        return self._facts(self._name)

    def heal(self, call: str = EVERY_CALL) -> None:
        """Drop what a restore that was cut off left, and let the live database be used."""
        self._sql(self._heal(call))

    def has_rows(self) -> bool:
        """Ask each table for one."""
        without = ", ".join(map(literal, MADE_BY_MIGRATE))
        return bool(self._sql(HAS_ROWS.format(without=without), self._name).strip())

    @contextlib.contextmanager
    def copied(self) -> Iterator[str]:
        """Give the name of a database that ``pg_restore`` fills with what ``pg_dump`` writes.

        ``CREATE DATABASE … TEMPLATE`` would need the live one idle.
        """
        with self._beside() as new:
            self._copy(new)
            yield new
            self._sql(f"DROP DATABASE {identifier(new)} WITH (FORCE);")

    def _heal(self, call: str = EVERY_CALL) -> str:
        """Return the script, by default for all calls: whoever holds the lock is alone."""
        return HEAL.format(live=identifier(self._name), call=call)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[str]:
        """Make a new empty database; when the block raises, the live one is as it was."""
        with self._swaps.under_way(keep_failed=True) as call:
            try:
                new = f"composed_new_{call}"
                create = CREATE.format(new=literal(new), live=literal(self._name))
                self._sql(self._heal() + create)
                yield new
            except BaseException:
                with contextlib.suppress(ComposedError):  # else the next verb does it
                    self.heal(call)
                raise

    def _copy(self, new: str) -> None:
        with self._gateway.pipe(self._pg_dump("--compress=0")) as dump:
            chunks = iter(lambda: dump.stdout.read1(CHUNK), b"")
            restored = self._feed(self._pg_restore(new), chunks, Progress("Copying"))
            for _ in chunks:  # what pg_restore no longer took
                pass
            dumped = dump.end()
        for program, answer in (("pg_dump", dumped), ("pg_restore", restored)):
            if answer.code:
                raise _failed(program, answer)

    def _swap(self, new: str) -> None:
        names = {"live": self._name, "new": new, "old": new.replace("_new_", "_old_")}
        quoted = {name: identifier(value) for name, value in names.items()}
        texts = {f"{name}_text": literal(value) for name, value in names.items()}
        self._sql(SWAP.format(**quoted, **texts))
        with contextlib.suppress(ComposedError):  # it is done; the next restore drops it
            self._sql(f"DROP DATABASE {quoted['old']} WITH (FORCE);")

    def _load(self, dump: Dump, new: str) -> None:
        if dump.kind == "custom":
            options = ["--no-privileges"] if dump.foreign else []  # its roles are not ours
            command = self._pg_restore(new, *options)
        else:
            command = [*self._psql(new), "--output", "/dev/null"]
        answer = self._feed(command, dump.chunks(), Progress("Restoring", _total(dump)))
        if answer.code:
            raise _unreadable(dump, answer)

    def _facts(self, database: str) -> Facts:
        with self._gateway.pipe(self._psql(database)) as session:
            _write(session.stdin, FACTS)
            facts = _read_facts(session.stdout)
            answer = session.end()
        if not facts:
            raise _failed("psql", answer)
        return facts

    # --- programs ------------------------------------------------------------

    def _pg_dump(self, *options: str) -> list[str]:
        return self._program("pg_dump", *options, "--format=custom", "--dbname", self._name)

    def _pg_restore(self, database: str, *options: str) -> list[str]:
        strict = ("--no-owner", "--exit-on-error")
        return self._program("pg_restore", *strict, *options, "--dbname", database)

    def _program(self, name: str, *args: str) -> list[str]:
        return self._inside(name, "--username", self._user, *args)

    def _psql(self, database: str) -> list[str]:
        plain = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
        stop = ("--set", "ON_ERROR_STOP=1")
        return self._program("psql", *plain, *stop, "--dbname", database)

    def _sql(self, script: str, database: str = "") -> str:
        """Run a script, by default on the database that is neither restored nor renamed."""
        aside = "template1" if self._name == "postgres" else "postgres"
        answer = self._feed(self._psql(database or aside), iter([script.encode()]))
        if answer.code:
            raise _failed("psql", answer)
        return answer.out

    def _feed(
        self, argv: Sequence[str], chunks: Iterator[bytes], progress: Progress | None = None
    ) -> Answer:
        """Write the pieces to a program's stdin; it may end before it has read them all."""
        with self._gateway.pipe(argv) as pipe, progress or contextlib.nullcontext():
            with contextlib.suppress(BrokenPipeError):
                for chunk in chunks:
                    pipe.stdin.write(chunk)
                    if progress:
                        progress.add(len(chunk))
            return pipe.end()


def _write(stdin: IO[bytes], script: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # what reads no more says why when it ends
        stdin.write(script.encode())
        stdin.flush()


def _read_facts(lines: IO[bytes]) -> Facts | None:
    """Return what the answers to ``FACTS`` say; None when they break off."""
    version = ""
    migrations: list[str] = []
    rows: dict[str, int] = {}
    for line in lines:
        kind, name, *count = json.loads(line)
        if kind == "end":
            return Facts(version, tuple(migrations), rows)
        if kind == "version":
            version = name.split()[0]
        elif kind == "migration":
            migrations.append(name)
        else:
            rows[name] = int(count[0])
    return None


def _failed(program: str, answer: Answer) -> InputOutputError:
    return InputOutputError(f"{program} ended with {answer.code}:", *_reason(answer))


def _unreadable(dump: Dump, answer: Answer) -> ComposedError:
    """Blame the file, unless its checksum was right: then it is the server's disk or memory."""
    blamed = DataError if dump.foreign else InputOutputError
    return blamed(f"{dump.file} cannot be restored; the database is as it was:", *_reason(answer))


def _reason(answer: Answer) -> list[str]:
    return answer.err.strip().splitlines()[-LAST_LINES:]


def _total(dump: Dump) -> int:
    return dump.file.stat().st_size if dump.kind == "custom" else 0


def _major(version: str) -> int:
    return int(re.match(r"\d+", version)[0])  # type: ignore[index]  # PostgreSQL's own words


def identifier(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Return a text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"
