"""The data of a PostgreSQL database: dump, restore, copy and count."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from composed.calls import Calls
from composed.data.dump_file import sql_version
from composed.data.moment import FACTS, at_a_moment, of_moment, read_facts
from composed.data.psql import Psql, last_lines, pipe_dump
from composed.database import CHUNK, MADE_BY_MIGRATE, Database, Dump, Facts, identifier, literal
from composed.errors import ComposedError, DataError, InputOutputError
from composed.gateway import Answer
from composed.terminal import Progress

EVERY_CALL = "[0-9a-f]+"

HAS_ROWS = """\
SELECT format('SELECT true WHERE EXISTS (SELECT FROM %I.%I)', schemaname, tablename)
  FROM pg_tables
 WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_' AND tablename NOT IN ({without})
\\gexec
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
    """The database ``name`` of the server of ``psql``; ``swaps`` records restores under way."""

    engine = "postgresql"

    def __init__(self, psql: Psql, name: str, swaps: Calls) -> None:
        self._psql, self._name, self._swaps = psql, name, swaps
        # Where a script runs while the live database is restored and renamed.
        self._aside = "template1" if name == "postgres" else "postgres"

    def check_version(self, version: str) -> None:
        """Raise :class:`DataError` for a newer major version: PostgreSQL may not read the dump."""
        server = self._sql("SHOW server_version;").strip()
        if version and _major(version) > _major(server):
            cure = f"Use the image postgres:{_major(version)} or a newer one, on a new volume."
            raise DataError(f"The data is from PostgreSQL {version}, the server is {server}.", cure)

    @property
    def commands(self) -> dict[str, list[str]]:
        return {"dump": self._pg_dump(), "restore": self._pg_restore("composed_new_dry")}

    def dump(self, file: Path) -> tuple[Facts, str]:
        checksum, facts = at_a_moment(
            self._psql, self._name, lambda snapshot: self._dump(file, snapshot)
        )
        return facts, checksum

    def _dump(self, file: Path, snapshot: str) -> str:
        digest = hashlib.sha256()
        with (
            self._psql.gateway.pipe(self._pg_dump(*of_moment(snapshot))) as dump,
            file.open("wb") as target,
            Progress("Dumping") as progress,
        ):
            while chunk := dump.stdout.read1(CHUNK):
                target.write(chunk)
                digest.update(chunk)
                progress.add(len(chunk))
            self._psql.checked("pg_dump", dump.end())
        return f"sha256:{digest.hexdigest()}"

    def check(self, dump: Dump) -> None:
        """Let ``pg_restore`` read the table of contents of a custom dump."""
        if dump.kind == "sql":
            self.check_version(sql_version(dump))
            return
        answer = self._psql.feed(self._psql.inside("pg_restore", "--list"), dump.chunks())
        if answer.code:
            raise _unreadable(dump, answer)
        version = re.search(r"Dumped from database version: (\S+)", answer.out)
        if dump.foreign and version:  # of a snapshot, the manifest has the version
            self.check_version(version[1])

    def replace(self, dump: Dump) -> Facts:
        with self._beside() as new:
            if dump.kind == "custom":
                roles = ["--no-privileges"] if dump.foreign else []  # roles of another server
                command, total = self._pg_restore(new, *roles), dump.file.stat().st_size
            else:
                command, total = self._psql.command(new, "--output", "/dev/null"), 0
            answer = self._psql.feed(command, dump.chunks(), Progress("Restoring", total))
            if answer.code:
                raise _unreadable(dump, answer)
            facts = self.facts(new)
            facts.check(dump.rows)
            self._swap(new)
        return facts

    def reset(self) -> None:
        with self._beside() as new:
            self._swap(new)

    def facts(self, database: str = "") -> Facts:
        """Return the facts of a database, by default of the live database."""
        answer = self._psql.feed(self._psql.command(database or self._name), [FACTS.encode()])
        if facts := read_facts(filter(None, answer.out.split("\n"))):
            return facts
        raise self._psql.error("psql", answer)

    def heal(self, call: str = EVERY_CALL) -> None:
        """Drop the databases that killed restores left, and open the live database."""
        self._sql(HEAL.format(live=identifier(self._name), call=call))

    def has_rows(self) -> bool:
        without = ", ".join(map(literal, MADE_BY_MIGRATE))
        return bool(self._psql.sql(HAS_ROWS.format(without=without), self._name).strip())

    @contextlib.contextmanager
    def copied(self) -> Iterator[str]:
        # CREATE DATABASE … TEMPLATE would need a live database without connections.
        with self._beside() as new:
            at_a_moment(self._psql, self._name, lambda snapshot: self._copy(new, snapshot))
            yield new
            self._sql(f"DROP DATABASE {identifier(new)} WITH (FORCE);")

    def _copy(self, new: str, snapshot: str) -> None:
        restore = self._pg_restore(new)
        pipe_dump(self._psql, self._name, self._psql, restore, "Copying", *of_moment(snapshot))

    @contextlib.contextmanager
    def _beside(self) -> Iterator[str]:
        """Make a new empty database; when the block raises, the live database is as before."""
        with self._swaps.under_way(keep_failed=True) as call:
            new = f"composed_new_{call}"
            # The holder of the data lock may remove the databases of every other call.
            heal = HEAL.format(live=identifier(self._name), call=EVERY_CALL)
            try:
                self._sql(heal + CREATE.format(new=literal(new), live=literal(self._name)))
                yield new
            except BaseException:
                with contextlib.suppress(ComposedError):  # else the next verb heals
                    self.heal(call)
                raise

    def _swap(self, new: str) -> None:
        live, old = identifier(self._name), identifier(new.replace("_new_", "_old_"))
        texts = {"live_text": literal(self._name), "new_text": literal(new)}
        self._sql(SWAP.format(live=live, new=identifier(new), old=old, **texts))
        with contextlib.suppress(ComposedError):  # the swap is done; the next restore drops
            self._sql(f"DROP DATABASE {old} WITH (FORCE);")

    def _pg_dump(self, *options: str) -> list[str]:
        return self._psql.program("pg_dump", *options, "--format=custom", "--dbname", self._name)

    def _pg_restore(self, database: str, *options: str) -> list[str]:
        strict = ("--no-owner", "--exit-on-error")
        return self._psql.program("pg_restore", *strict, *options, "--dbname", database)

    def _sql(self, script: str) -> str:
        return self._psql.sql(script, self._aside)


def _unreadable(dump: Dump, answer: Answer) -> ComposedError:
    """Blame a foreign file; the checksum of a snapshot was right, so the server is to blame."""
    kind = DataError if dump.foreign else InputOutputError
    problem = f"{dump.file} cannot be restored; the database is as it was:"
    return kind(problem, *last_lines(answer.err))


def _major(version: str) -> int:
    return int(re.match(r"\d+", version)[0])  # type: ignore[index]  # PostgreSQL's own words
