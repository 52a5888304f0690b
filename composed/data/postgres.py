"""The data of a PostgreSQL database: dump, restore, copy and count."""

import contextlib
import hashlib
import itertools
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from composed.calls import Calls
from composed.data import misfits
from composed.data.dump_file import DumpFile, sql_version
from composed.data.moment import FACTS, LOCALE, at_a_moment, of_moment, read_facts
from composed.data.psql import (
    Psql,
    drop_database,
    last_lines,
    stopped,
    unless_exists,
    was_stopped,
)
from composed.data.transfer import (
    copy,
    is_worth_a_second_try,
    say_second_try,
    search_path,
    transfer,
    with_search_path,
)
from composed.database import CHUNK, MADE_BY_MIGRATE, Database, Dump, Facts, identifier, literal
from composed.errors import ComposedError, DataError, InputOutputError
from composed.gateway import Answer
from composed.terminal import Progress, say

EVERY_CALL = "[0-9a-f]{12}"
NO_CALL = "0" * 12

RESTORE = ("--no-owner", "--exit-on-error")

# A subscription keeps its database; without its slot, it needs no answer of the other server.
UNSUBSCRIBE = """\
SELECT EXISTS (SELECT FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
                WHERE datname = {text}) AS subscribes \\gset
\\if :subscribes
ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true;
\\connect {name}
SELECT format(command, subname)
  FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid,
       unnest(ARRAY['ALTER SUBSCRIPTION %I DISABLE', 'ALTER SUBSCRIPTION %I SET (slot_name = NONE)',
                    'DROP SUBSCRIPTION %I']) WITH ORDINALITY AS commands (command, step)
 WHERE datname = current_database() ORDER BY subname, step \\gexec
\\connect {aside}
\\endif
"""

HAS_ROWS = """\
SELECT format('SELECT true WHERE EXISTS (SELECT FROM %I.%I)', schemaname, tablename)
  FROM pg_tables
 WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_' AND tablename NOT IN ({without})
\\gexec
"""

CREATE = f"""\
SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I %s CONNECTION LIMIT %s',
              {{new}}, pg_get_userbyid(datdba), {LOCALE}, datconnlimit)
    || CASE WHEN datistemplate THEN ' IS_TEMPLATE true' ELSE '' END
  FROM pg_database WHERE datname = {{live}} \\gexec
"""  # noqa: S608  # no value of a user

# A database that is renamed has no other sessions. psql and pg_dump know the new name.
CLOSE = """\
ALTER DATABASE {live} WITH ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {live_text};
ALTER DATABASE {live} RENAME TO {closed};
ALTER DATABASE {closed} WITH ALLOW_CONNECTIONS true;
"""

MAKE = """\
SELECT format('CREATE DATABASE %I %s', name, {locale}) FROM (SELECT {name} AS name) AS wanted
 WHERE NOT EXISTS (SELECT FROM pg_database
                    WHERE datname = name OR datname ~ '^composed_closed_{tag}_') \\gexec
"""

# The settings of `ALTER DATABASE … SET` stay with the name.
SWAP = """\
ALTER DATABASE {closed} WITH ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {closed_text};
BEGIN;
UPDATE pg_db_role_setting SET setdatabase = (SELECT oid FROM pg_database WHERE datname = {new_text})
 WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = {closed_text});
ALTER DATABASE {closed} RENAME TO {old};
ALTER DATABASE {new} RENAME TO {live};
COMMIT;
"""

# The rows name the databases to be dropped. A closed database is never dropped: beside it,
# someone may have made the live database anew.
HEAL = """\
SELECT datname FROM pg_database WHERE datname ~ '^composed_(new|old|proof)_{call}$';
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
 WHERE datname ~ '^composed_closed_{tag}_{call}$' \\g /dev/null
SELECT format('ALTER DATABASE %I RENAME TO %I', datname, {live_text})
  FROM pg_database WHERE datname ~ '^composed_closed_{tag}_{call}$'
   AND NOT EXISTS (SELECT FROM pg_database WHERE datname = {live_text}) LIMIT 1 \\gexec
ALTER DATABASE {live} WITH ALLOW_CONNECTIONS true;
"""


class PostgreSQL(Database):
    """The database ``name`` of the server of ``psql``; ``swaps`` records restores under way."""

    engine = "postgresql"

    def __init__(self, psql: Psql, name: str, swaps: Calls) -> None:
        self._psql, self._name, self._swaps = psql, name, swaps
        self._current = name  # a closed database has another name
        self._call = NO_CALL
        self._tag = hashlib.sha256(name.encode()).hexdigest()[:8]  # a name may be long
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
        return {
            "dump": self._pg_dump(),
            "restore": self._psql.program("pg_restore", *RESTORE, "--dbname", "composed_new_dry"),
        }

    def dump(self, file: Path) -> tuple[Facts, str]:
        checksum, facts = at_a_moment(
            self._psql, self._current, lambda snapshot: self._dump(file, snapshot)
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
        """Let ``pg_restore`` read the table of contents; of SQL, see what the server misses.

        The statements of a foreign script that need a role or a setting that the server does
        not have are left out of the restore.
        """
        if isinstance(dump, DumpFile) and dump.script:
            self.check_version(sql_version(dump))
            misfits.fit(dump, self._sql)
            return
        contents = dump.table_of_contents() if isinstance(dump, DumpFile) else dump.chunks()
        # The list may be longer than the pipes hold, while the dump is still written.
        with self._psql.gateway.pipe(self._archive_reader(dump, "--list"), contents) as reader:
            answer = reader.end()
        if answer.code:
            raise _unreadable(dump, answer)
        version = re.search(r"Dumped from database version: (\S+)", answer.out)
        if dump.foreign and version:  # of a snapshot, the manifest has the version
            self.check_version(version[1])
        if isinstance(dump, DumpFile):
            misfits.check_contents(dump, answer.out, self._sql)

    @contextlib.contextmanager
    def prepared(self, dump: Dump | None) -> Iterator[Facts]:
        with self._beside() as new:
            self._empty(new)
            yield self._filled(new, dump) if dump else Facts("", (), {})

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        closed = f"composed_closed_{self._tag}_{self._call}"
        live = {"live": identifier(self._name), "live_text": literal(self._name)}
        self._sql(CLOSE.format(**live, closed=identifier(closed)))
        self._current = closed
        try:
            yield
        finally:
            self._current = self._name

    def swap(self) -> None:
        new, old = (f"composed_{kind}_{self._call}" for kind in ("new", "old"))
        names = {"live": self._name, "closed": self._current, "new": new, "old": old}
        texts = {"closed_text": literal(self._current), "new_text": literal(new)}
        self._sql(SWAP.format(**{key: identifier(name) for key, name in names.items()}, **texts))
        with contextlib.suppress(ComposedError):  # the swap is done; the next restore drops
            self._drop(old)

    def prove(self, dump: Dump) -> None:
        proof = f"composed_proof_{self._call}"
        try:
            self._empty(proof)
            self._filled(proof, dump)
        finally:
            with contextlib.suppress(ComposedError):  # the next restore drops
                self._drop(proof)

    def facts(self, database: str = "") -> Facts:
        """Return the facts of a database, by default of the live database."""
        answer = self._psql.feed(self._psql.command(database or self._current), [FACTS.encode()])
        if facts := read_facts(filter(None, answer.out.split("\n"))):
            return facts
        raise self._psql.error("psql", answer)

    def heal(self, call: str = EVERY_CALL) -> None:
        """Open the live database, and drop the databases that killed restores left."""
        live, text = identifier(self._name), literal(self._name)
        left = self._sql(HEAL.format(live=live, live_text=text, tag=self._tag, call=call))
        for database in re.findall(r"^composed_\w+$", left, re.MULTILINE):
            try:
                self._drop(database)
            except ComposedError as error:  # it is in nobody's way
                say(f"The database {database}, a copy, could not be dropped: {error}")

    def make(self, dump: Dump) -> None:
        """Make the database, empty, where there is none, and no killed restore has closed it."""
        locale = literal(f"TEMPLATE template0 {dump.locale}" if dump.locale else "")
        self._sql(MAKE.format(name=literal(self._name), tag=self._tag, locale=locale))

    def has_rows(self) -> bool:
        without = _texts(MADE_BY_MIGRATE)
        return bool(self._psql.sql(HAS_ROWS.format(without=without), self._current).strip())

    @contextlib.contextmanager
    def copied(self) -> Iterator[str]:
        # CREATE DATABASE … TEMPLATE would need a live database without connections.
        with self._beside() as new:
            at_a_moment(self._psql, self._name, lambda snapshot: self._copy(new, snapshot))
            yield new
            self._drop(new)

    def _copy(self, new: str, snapshot: str) -> None:
        copy(
            *(self._psql, self._name, self._psql, new, "Copying"),
            empty=lambda: self._empty(new),
            of_dump=of_moment(snapshot),
            of_restore=["--no-owner"],
        )

    @contextlib.contextmanager
    def _beside(self) -> Iterator[str]:
        """Yield the name for a new database; when the block raises, all is as before."""
        with self._swaps.under_way(self._name.encode().hex(), keep_failed=True) as self._call:
            # The holder of the data lock may remove the databases of every other call.
            self.heal()
            try:
                yield f"composed_new_{self._call}"
            except BaseException:
                with contextlib.suppress(ComposedError):  # else the next verb heals
                    self.heal(self._call)
                raise

    def _empty(self, new: str) -> None:
        """Make a new database like the live database, without the contents."""
        create = CREATE.format(new=literal(new), live=literal(self._current))
        self._sql(self._dropping(new) + create)

    def _drop(self, database: str) -> None:
        self._sql(self._dropping(database))

    def _dropping(self, database: str) -> str:
        """Return SQL for a database of ours: its name has no character to be quoted."""
        names = {"name": database, "text": literal(database), "aside": self._aside}
        return UNSUBSCRIBE.format(**names) + drop_database(database)

    def _filled(self, new: str, dump: Dump) -> Facts:
        """Load a dump into a new database, compare, and return the facts."""
        if dump.roles:
            self._sql("".join(map(unless_exists, dump.roles)))
        answer = self._load(new, dump)
        if is_worth_a_second_try(answer):
            path = dump.search_path or search_path(self._psql, self._current)
            say_second_try(answer, path)
            self._empty(new)
            with contextlib.suppress(InputOutputError):  # the first answer says more
                answer = self._load_as_sql(new, dump, path)
        if answer.code:
            raise _unreadable(dump, answer)
        facts = self.facts(new)
        facts.check(dump.rows)
        return facts

    def _load(self, new: str, dump: Dump) -> Answer:
        """Let the program that reads the dump fill the database ``new``."""
        if dump.kind == "sql":
            command = self._psql.command(new, "--output", "/dev/null")
            chunks = self._restricted(dump.chunks())
        else:
            login = ("--username", self._psql.user)
            command = self._archive_reader(dump, *login, *_restoring(dump), "--dbname", new)
            chunks = dump.chunks()
        return self._psql.feed(command, chunks, Progress("Restoring", dump.size))

    def _load_as_sql(self, new: str, dump: Dump, path: str) -> Answer:
        change, label = with_search_path(path), "Restoring"
        command = self._psql.command(new, "--output", "/dev/null")
        if dump.kind == "sql":
            script = self._restricted(change(dump.chunks()))
            return self._psql.feed(command, script, Progress(label))
        to_sql = self._archive_reader(dump, *_restoring(dump), "--file", "-")
        chunks = dump.chunks()
        return transfer(
            self._psql, to_sql, self._psql, command, label, chunks=chunks, change=change
        )

    def _pg_dump(self, *options: str) -> list[str]:
        return self._psql.program("pg_dump", *options, "--format=custom", "--dbname", self._current)

    def _archive_reader(self, dump: Dump, *words: str) -> list[str]:
        return self._psql.inside(*dump.unpack, "pg_restore", *words)

    def _restricted(self, script: Iterable[bytes]) -> Iterable[bytes]:
        """Return a foreign script so that psql refuses a command which the look has missed."""
        guard = f"\\restrict {secrets.token_hex(16)}\n" if self._knows_restrict() else ""
        # As the look assumes, whatever the setting of the role is.
        guard += "SET standard_conforming_strings = on;\n"
        return itertools.chain([guard.encode()], script)

    def _knows_restrict(self) -> bool:
        """Ask psql itself: the command came with minor versions."""
        script = [b"\\restrict x\n\\unrestrict x\n"]
        return self._psql.feed(self._psql.command(self._aside), script).code == 0

    def _sql(self, script: str) -> str:
        return self._psql.sql(script, self._aside)


def _unreadable(dump: Dump, answer: Answer) -> ComposedError:
    """Blame a foreign file; the checksum of a snapshot was right, so the server is to blame."""
    name = dump.file if dump.foreign else dump.title
    problem = f"{name} cannot be restored; the database is as it was:"
    if was_stopped(answer):
        return stopped(problem, answer)
    if isinstance(dump, DumpFile):
        return DataError(problem, *last_lines(answer.err), *misfits.cures(dump, answer.err))
    return InputOutputError(problem, *last_lines(answer.err))


def _restoring(dump: Dump) -> list[str]:
    """Return the options of pg_restore, the same for a database and for a script."""
    return [*RESTORE, *(misfits.options(dump) if dump.foreign else [])]


def _texts(names: Iterable[str]) -> str:
    return ", ".join(map(literal, names))


def _major(version: str) -> int:
    return int(re.match(r"\d+", version)[0])  # type: ignore[index]  # PostgreSQL's own words
