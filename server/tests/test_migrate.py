"""The migrate command: never two at a time, and no lock stays behind."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from django.db import connection
from processes import PATIENCE, SERVER, environment, manage
from task_api.management.commands import migrate

pytestmark = pytest.mark.django_db(transaction=True)

Hold = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture
def hold(env: dict[str, str]) -> Hold:
    """Hold the lock as a running migrate does."""

    @contextmanager
    def hold() -> Iterator[None]:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [migrate._KEY])
                yield
                cursor.execute("SELECT pg_advisory_unlock(%s)", [migrate._KEY])
        else:
            with Path(f"{env['SQLITE_PATH']}.migrate.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield

    return hold


def test_a_second_migrate_says_that_it_waits_and_then_works(
    env: dict[str, str], hold: Hold
) -> None:
    with hold():
        second = manage("migrate", env=env)
        assert second.stderr
        assert second.stderr.readline() == "Another migrate is running: waiting for it to end.\n"
        assert second.poll() is None

    output, errors = second.communicate(timeout=PATIENCE)
    assert (second.returncode, errors) == (0, "")
    assert "Running migrations" in output


def test_two_at_once_both_succeed(env: dict[str, str]) -> None:
    both = [manage("migrate", env=env) for _ in range(2)]

    for process in both:
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output + errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_migrate_leaves_no_lock(
    env: dict[str, str], hold: Hold, number: signal.Signals
) -> None:
    with hold():
        waiting = manage("migrate", env=env)
        assert waiting.stderr
        waiting.stderr.readline()
        waiting.send_signal(number)
        waiting.communicate(timeout=PATIENCE)
        assert waiting.returncode != 0

    after = manage("migrate", env=env)
    _, errors = after.communicate(timeout=PATIENCE)
    assert (after.returncode, errors) == (0, "")


@pytest.mark.parametrize("question", ["--plan", "--check"])
def test_plan_and_check_do_not_wait(env: dict[str, str], hold: Hold, question: str) -> None:
    with hold():
        process = manage("migrate", question, env=env)
        _, errors = process.communicate(timeout=PATIENCE)

    assert errors == ""


def test_a_failed_migrate_leaves_no_lock(env: dict[str, str]) -> None:
    failing = manage("migrate", "no_such_app", env=env)
    failing.communicate(timeout=PATIENCE)
    assert failing.returncode == 1

    after = manage("migrate", env=env)
    _, errors = after.communicate(timeout=PATIENCE)
    assert (after.returncode, errors) == (0, "")


FAILING = """\
from django.db import migrations


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("task_api", "0002_task_done_page")]
    operations = [migrations.Run{operation}]
"""


@pytest.fixture
def failing(env: dict[str, str], tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Migrate with a further migration; return stdout and stderr."""

    def run(operation: str, *, atomic: bool = True) -> tuple[str, str]:
        package = tmp_path / "more_migrations"
        shutil.copytree(SERVER / "task_api/migrations", package)
        (package / "0003_more.py").write_text(FAILING.format(operation=operation, atomic=atomic))
        (tmp_path / "more_settings.py").write_text(
            "from task_api.settings import *\nMIGRATION_MODULES = {'task_api': 'more_migrations'}\n"
        )
        more = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "more_settings"}
        process = manage("migrate", "--verbosity", "1", env=env | more)
        out, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, out + errors
        return out, errors

    return run


@pytest.mark.parametrize("atomic", [True, False])
def test_a_failure_names_the_migration_and_the_sql(
    failing: Callable[..., tuple[str, str]], atomic: bool
) -> None:
    out, errors = failing('SQL(["SELECT 1", "DROP TABLE gone"])', atomic=atomic)

    assert out.endswith("  Applying task_api.0003_more...\n")
    assert errors.startswith("CommandError: task_api.0003_more failed: ")
    assert errors.endswith("\nSQL: DROP TABLE gone\n")


def test_a_failure_shows_no_values(failing: Callable[..., tuple[str, str]]) -> None:
    execute = 'editor.connection.cursor().execute("SELECT x FROM gone WHERE y = %s", ["a secret"])'
    _, errors = failing(f"Python(lambda apps, editor: {execute})")

    assert errors.endswith("\nSQL: SELECT x FROM gone WHERE y = %s\n")
    assert "a secret" not in errors


def test_failed_python_code_keeps_its_traceback(failing: Callable[..., tuple[str, str]]) -> None:
    _, errors = failing("Python(lambda apps, editor: 1 / 0)")

    assert errors.startswith("task_api.0003_more failed:\nTraceback ")
    assert errors.endswith("ZeroDivisionError: division by zero\n")


LATE = """\
import os, signal, sys
import manage
from psycopg2 import extensions

class Connection:
    polls = 0

    def poll(self):
        self.polls += 1
        if self.polls == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return extensions.POLL_OK

    def cancel(self):
        pass

def command(argv):
    extensions.get_wait_callback()(Connection())
    print("went on")

manage.execute_from_command_line = command
sys.argv = ["manage.py", "migrate"]
manage.main()
"""


def test_an_interrupt_at_the_end_of_a_statement_is_not_lost() -> None:
    """The statement can no more be canceled, and the next statement must not begin."""
    env = os.environ | {"DATABASE_ENGINE": "postgresql"}
    command = [sys.executable, "-c", LATE]

    done = subprocess.run(command, cwd=SERVER, env=env, text=True, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
