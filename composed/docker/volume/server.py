"""A PostgreSQL server on a volume, in a container that no other program can reach."""

import contextlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from composed.calls import Calls
from composed.data.postgres import PostgreSQL
from composed.data.psql import LAST_LINES, Psql, failure
from composed.database import identifier
from composed.docker.compose import LABEL, Compose
from composed.errors import NotReadyError, RefusedError
from composed.gateway import Answer, Gateway
from composed.terminal import shown

SECONDS_TO_START, SECONDS_BETWEEN_LOOKS = 300, 0.1

# In JSON, for a name may hold any character. The other template is PostgreSQL's own for ever.
DATABASES = """\
SELECT json_build_object(datname, datallowconn) FROM pg_database
 WHERE datname <> 'template0' ORDER BY datname;
"""
SEQUENCES = """\
SELECT format('%I.%I %s', schemaname, sequencename, last_value) FROM pg_sequences ORDER BY 1;
"""


class TemporaryServer:
    """A server in the container ``id_``, with the superuser ``user``."""

    def __init__(self, gateway: Gateway, id_: str, user: str, note: str) -> None:
        self._gateway, self._id, self._note = gateway, id_, note
        self.psql = Psql(gateway, self._inside, user, note=note)

    def database(self, name: str) -> PostgreSQL:
        """Return a database, for dumps and counts: no restore is recorded."""
        return PostgreSQL(self.psql, name, Calls(self._gateway, Path()))

    def databases(self) -> list[str]:
        """Return the names of the databases; raise :class:`RefusedError` when one has no dump."""
        names = []
        for row in self.psql.sql(DATABASES).split("\n"):
            for name, takes_connections in json.loads(row or "{}").items():
                if not takes_connections:
                    command = f"ALTER DATABASE {identifier(name)} ALLOW_CONNECTIONS true"
                    raise RefusedError(
                        f"The database {shown(name)} takes no connections, not even of pg_dump.",
                        f"Open the database: inv dbshell --command {shlex.quote(command)}",
                    )
                names.append(name)
        return names

    def contents(self, database: str) -> tuple[Mapping[str, int], str]:
        """Return the number of rows by table, and the state of the sequences."""
        return self.database(database).facts().rows, self.psql.sql(SEQUENCES, database)

    def wait(self) -> None:
        """Return when the server takes connections; raise :class:`NotReadyError` otherwise."""
        end = time.monotonic() + SECONDS_TO_START
        # Over TCP: while a new volume is set up, the server answers on the socket alone.
        while self._gateway.ask(self._inside("pg_isready", "--quiet", "--host", "127.0.0.1")).code:
            running = ["docker", "inspect", "--format", "{{.State.Running}}", self._id]
            if self._gateway.ask(running).out.strip() != "true" or time.monotonic() > end:
                logs = self._gateway.ask(["docker", "logs", "--tail", str(LAST_LINES), self._id])
                lines = (logs.out + logs.err).splitlines()
                raise NotReadyError("PostgreSQL did not start. Its last lines:", *lines)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def stop(self) -> None:
        """Shut the server down in order, with every write on disk, and remove the container."""
        for words in (("stop", "--time", "300"), ("rm", "--force", "--volumes")):
            answer = self._gateway.ask(["docker", *words, self._id])
            output(f"docker {words[0]}", answer, self._note)

    def _inside(self, *argv: str) -> list[str]:
        return ["docker", "exec", "--interactive", self._id, *argv]


@contextlib.contextmanager
def temporary_server(
    dc: Compose,
    service: str,
    user: str,
    call: str,
    note: str,
    env: Mapping[str, str] | None = None,
    volumes: Sequence[str] = (),
) -> Iterator[TemporaryServer]:
    """Start the service once more, without ports and without a name on the network.

    ``user`` is the superuser; ``call`` labels the container; ``note`` stands in every error;
    ``env`` wins over the env files; ``volumes`` are mounts beside those of the service.
    """
    mounts = [word for volume in volumes for word in ("--volume", volume)]
    options = ("--detach", "--no-deps", "--label", f"{LABEL}={call}", *mounts)
    answer = dc.gateway.ask(dc.argv("run", *options, service), env=env)
    id_ = output("docker compose run", answer, note).split()[-1]
    server = TemporaryServer(dc.gateway, id_, user, note)
    server.wait()
    yield server
    server.stop()


def output(program: str, answer: Answer, note: str) -> str:
    """Return the stdout of a program; raise :class:`InputOutputError` when it failed."""
    if answer.code:
        raise failure(program, answer, note)
    return answer.out
