"""A moment of a PostgreSQL database, which pg_dump and the count of rows both see.

Not every change can be undone for the eyes of an older snapshot: a table that ``ALTER TABLE``
writes anew, or that ``TRUNCATE`` empties, is empty for them (PostgreSQL's manual, 13.6). So every
table is locked first, and the moment comes after: until its end, no such change begins.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from composed.data.psql import Psql
from composed.database import Facts
from composed.errors import ComposedError
from composed.gateway import Pipe
from composed.terminal import say

T = TypeVar("T")

# The options of CREATE DATABASE that no dump has, of a row of pg_database. The names of the columns
# for a locale of ICU or of PostgreSQL itself changed from version to version.
LOCALE = """\
format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype)
  || (SELECT CASE found ->> 'datlocprovider'
        WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', locale)
                      || coalesce(' ICU_RULES ' || quote_literal(found ->> 'daticurules'), '')
        WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', locale)
        ELSE '' END
        FROM to_jsonb(pg_database) AS found,
             coalesce(found ->> 'datlocale', found ->> 'daticulocale') AS locale)"""

# The rows of every table in a dump, and the commands that make the roles, which no dump has.
# CREATE EXTENSION makes the tables of an extension anew.
FACTS = f"""\
SET client_encoding = 'UTF8';
SELECT json_build_array('version', current_setting('server_version'));
SELECT json_build_array('search_path', current_setting('search_path'));
SELECT json_build_array('locale', {LOCALE}) FROM pg_database WHERE datname = current_database();
SELECT replace($roles$
  SELECT json_build_array('role', format(
           'CREATE ROLE %I WITH %s %s %s %s %s %s %s CONNECTION LIMIT %s PASSWORD %L', rolname,
           CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
           CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
           CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
           CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
           CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
           CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
           CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
           rolconnlimit, nullif(rolpassword, '********')))
    FROM the_roles WHERE rolname !~ '^pg_' AND rolname <> current_user ORDER BY rolname
$roles$, 'the_roles', CASE WHEN rolsuper THEN 'pg_authid' ELSE 'pg_roles' END)
  FROM pg_roles WHERE rolname = current_user \\gexec
SELECT json_build_array('role', format('GRANT %I TO %I', groups.rolname, members.rolname))
  FROM pg_auth_members JOIN pg_roles groups ON groups.oid = roleid
  JOIN pg_roles members ON members.oid = member
 WHERE members.rolname !~ '^pg_' AND members.rolname <> current_user
   AND groups.rolname <> current_user ORDER BY 1::text;
SELECT json_build_array('objects', (
  (SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname <> 'information_schema' AND nspname !~ '^pg_')
  + (SELECT count(*) FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
      WHERE nspname <> 'information_schema' AND nspname !~ '^pg_')
  + (SELECT count(*) FROM pg_largeobject_metadata))::text);
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
"""  # noqa: S608  # no value of a user

# The session is idle on purpose while pg_dump reads the same snapshot.
BEGIN = """\
\\set ON_ERROR_STOP off
SET idle_in_transaction_session_timeout = 0;
SET statement_timeout = 0;
"""

# Every table that a dump has, and that a transaction may lock.
_TABLES = """\
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relkind IN ('r', 'p') AND relpersistence <> 't'
   AND nspname <> 'information_schema' AND nspname !~ '^pg_'
"""

# LOCK TABLE is not yet the moment; the first SELECT is. NOWAIT: a session that waits while it
# holds other locks could end a migration by a deadlock. A line with the SQLSTATE of LOCK TABLE and
# the name of the snapshot, which is empty when a table was made after the list.
LOCK = f"""\
\\set snapshot
SELECT coalesce('LOCK TABLE ' || string_agg(format('ONLY %I.%I', nspname, relname), ', ')
                || ' IN ACCESS SHARE MODE NOWAIT', '') AS lock
{_TABLES} \\gset
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
:lock;
\\set state :SQLSTATE
SELECT pg_export_snapshot() AS snapshot WHERE NOT EXISTS (SELECT {_TABLES}
   AND pg_class.oid NOT IN (SELECT relation FROM pg_locks
                             WHERE pid = pg_backend_pid() AND relation IS NOT NULL)) \\gset
\\echo :state :snapshot
"""  # noqa: S608  # no value of a user
# The lock is taken by another session; the table, or its schema, is gone since the list.
AGAIN = ("55P03", "42P01", "3F000")
LOCK_OR_END = "\\set ON_ERROR_STOP on\nROLLBACK;\nBEGIN;\n:lock;\n"

# A line for each session that changes a table, then an empty line.
WAIT = """\
ROLLBACK;
SELECT pg_sleep({seconds}) \\g /dev/null
SELECT format('%s (%s)', pid, left(regexp_replace(query, '[[:cntrl:][:space:]]+', ' ', 'g'), 60))
  FROM pg_stat_activity
 WHERE pid IN (SELECT pid FROM pg_locks WHERE mode = 'AccessExclusiveLock'
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
\\echo
"""

# pg_dump waits for a lock behind a session that waits for the locks of this moment.
IN_THE_WAY = """\
SELECT count(*) FROM pg_locks AS waits JOIN pg_locks AS holds USING (database, relation)
 WHERE NOT waits.granted AND holds.pid = pg_backend_pid();
"""
LOCK_WAIT = "3s"

WAITS_IN_SILENCE, SECONDS_BETWEEN = 5, 0.2


def at_a_moment(psql: Psql, database: str, read: Callable[[str], T]) -> tuple[T, Facts]:
    """Return the result of ``read``, and the facts of the same moment.

    ``read`` gets the name of an exported snapshot, runs pg_dump with the options
    :func:`of_moment`, and is called again when a change of a table comes between.
    Waits for changes under way, and names their sessions. Raises the errors of psql and of
    ``read``.
    """
    while True:
        with psql.gateway.pipe(psql.command(database)) as session:
            _write(session, BEGIN)
            snapshot = _wait_for_snapshot(psql, session)
            try:
                result = read(snapshot)
            except ComposedError:
                if _is_in_the_way(session):
                    say("A change of a table came between: again …")
                    continue
                raise
            _write(session, f"\\set ON_ERROR_STOP on\n{FACTS}")
            facts = read_facts(session.stdout)
            answer = session.end()
        if not facts:
            raise psql.error("psql", answer)
        return result, facts


def of_moment(snapshot: str) -> tuple[str, ...]:
    """Return the options of a pg_dump that reads an exported snapshot."""
    return f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}"


def read_facts(lines: Iterable[str | bytes]) -> Facts | None:
    """Return the facts in the rows of ``FACTS``; None when the rows break off."""
    texts: dict[str, list[str]] = defaultdict(list)
    rows: dict[str, int] = {}
    for line in lines:
        try:
            text = line if isinstance(line, str) else line.decode(errors="replace")
            kind, name, *count = json.loads(text)
        except ValueError:  # psql has lost the server in the middle of a line
            return None
        if kind == "end":  # psql waits for more
            break
        if kind == "rows":
            rows[name] = int(count[0])
        else:
            texts[kind].append(name)
    else:
        return None
    version, path = "".join(texts["version"]).split()[0], "".join(texts["search_path"])
    roles, objects = tuple(texts["role"]), int("".join(texts["objects"]) or 0)
    locale = "".join(texts["locale"])
    return Facts(version, tuple(texts["migration"]), rows, path, roles, objects, locale)


def _wait_for_snapshot(psql: Psql, session: Pipe) -> str:
    waits = 0
    while True:
        _write(session, LOCK)
        line = session.stdout.readline()
        if not line:
            raise psql.error("psql", session.end())
        state, _, snapshot = line.decode().strip().partition(" ")
        if snapshot:
            return snapshot
        if state not in ("00000", *AGAIN):
            _write(session, LOCK_OR_END)
            raise psql.error("psql", session.end())
        _write(session, WAIT.format(seconds=SECONDS_BETWEEN))
        others = ", ".join(_lines(session))
        waits += 1
        if waits == WAITS_IN_SILENCE:
            say(f"Waiting for the end of a change of a table, by session {others or 'unknown'} …")


def _is_in_the_way(session: Pipe) -> bool:
    _write(session, IN_THE_WAY)
    count = session.stdout.readline().strip()
    return count.isdigit() and int(count) > 0


def _lines(session: Pipe) -> Iterator[str]:
    """Yield lines up to an empty line, or to the end of a psql that has failed."""
    while line := session.stdout.readline().strip():
        yield line.decode(errors="replace")


def _write(session: Pipe, script: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the answer of a dead psql says why
        session.stdin.write(script.encode())
        session.stdin.flush()
