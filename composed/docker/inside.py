"""Commands inside the containers of docker mode."""

import contextlib
import functools
import posixpath
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from composed.calls import Calls
from composed.data.connection import recorded
from composed.docker import engine
from composed.docker.compose import LABEL, MARK, Compose
from composed.docker.database import DatabaseService
from composed.docker.django import (
    EXPORTS,
    ManageCommand,
    exporting,
    manage_command,
    server_variables,
)
from composed.docker.file_store import MountedFileStore, take_over
from composed.docker.follow import file_on_host
from composed.docker.only_copy import only_in_container
from composed.errors import Interrupted, NotFoundError
from composed.gateway import Answer, Typed
from composed.stack import Inside, Stack
from composed.terminal import is_plain, plain_environment, say

NO_COLOR = {"--no-color", "--force-color"}  # Django takes neither with the other

# Commands of Django that write files of the source.
WRITERS = ("makemigrations", "squashmigrations", "optimizemigration", "makemessages", "startapp")
# Prints the uid if a folder that gets the files cannot be written; "*" alone is no folder.
_UNABLE = """
for folder in "$1" "$1"/migrations "$1"/*/migrations "$1"/*/*/migrations; do
  [ ! -d "$folder" ] || [ -w "$folder" ] || { id -u; exit; }
done
"""


class ContainerInside(Inside):
    """Runs commands in the backend's container, or in a one-off container of its image."""

    def __init__(self, stack: Stack, dc: Compose, calls: Calls, database: DatabaseService) -> None:
        self._stack, self._dc, self._calls, self._database = stack, dc, calls, database
        self._project, self._gateway = stack.project, stack.gateway

    def manage(self, *args: str, env: Mapping[str, str] | None = None) -> int:
        """Run in a one-off container: a killed ``exec`` would go on inside the backend."""
        return self._manage(args, env or {})

    def manage_as_owner(self, *args: str) -> int:
        options = self._owner()
        if options and (kept := recorded(self._stack)) and kept[0].vendor == "sqlite":
            service = self._dc.model().service(self._project.backend)
            if file := file_on_host(service, kept[0].name):
                take_over(self._stack, self._dc, file, kept[0].name)
        code = self._manage(args, {}, *options)
        if code and not options and args[0] in WRITERS and (user := self._unable_to_write()):
            say(self._about_writing(user))
        return code

    def _manage(self, args: Sequence[str], env: Mapping[str, str], *user: str) -> int:
        if only_in_container(self._stack, self._dc):  # a one-off container would not have the file
            manage = self._manage_command
            words, options = [*manage.words, *args], [*user, *manage.options]
            return self._exec(self._project.backend, words, *options, more=env)
        if self._database.start():
            self._database.check(self._dc.model())
        variables, no_tty, typed = plain_environment() | dict(env), _no_tty(), _typed(args)
        if not no_tty and typed == "answers":  # with a terminal, Compose takes all that is typed
            no_tty = ["--no-TTY"]
            args = [*args, *([] if is_plain() or {*args} & NO_COLOR else ["--force-color"])]
        with self._one_off(no_tty, args, variables, user) as (words, variables):
            backend = self._project.backend
            return self._dc.run(*words, env=variables, services=[backend], typed=typed)

    def ask_one_off(self, *args: str, env: Mapping[str, str] | None = None) -> Answer:
        with self._one_off(["--no-TTY"], args, env) as (words, variables):
            return self._gateway.ask(self._dc.argv(*words), env=variables)

    @contextlib.contextmanager
    def _one_off(
        self,
        tty: Sequence[str],
        args: Sequence[str],
        env: Mapping[str, str] | None,
        user: Sequence[str] = (),
    ) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Yield the words for Compose, and the environment for Compose."""
        manage, env = self._manage_command, dict(env or {})
        (program, *words), exports = self._exporting([*manage.words, *args], env)
        env |= exports
        with self._call() as call:
            # A database of another kind starts as a dependency.
            alone = ["--no-deps"] if self._database.name else []
            run = ["run", "--rm", *alone, *tty, "--label", f"{LABEL}={call}", *user]
            run += [*_env(env), *manage.options, "--entrypoint", shlex.quote(program)]
            yield [*run, self._project.backend, *words], env

    def ask_manage(self, *args: str) -> Answer:
        backend, manage = self._project.backend, self._manage_command
        words, env = self._exporting([*manage.words, *args])
        options = ("exec", "--no-TTY", *_env(env), *manage.options)
        argv = self._dc.argv(*options, backend, *words)
        answer = self._gateway.ask(argv, env=env)
        if answer.code == 0 or backend in self._dc.running():
            return answer
        return self.ask_one_off(*args)

    @functools.cached_property
    def _manage_command(self) -> ManageCommand:
        if self._project.manage:
            return ManageCommand(self._project.manage)
        service = self._dc.model().service(self._project.backend)
        return manage_command(service, self._project.base)

    def _exporting(
        self, words: Sequence[str], given: Collection[str] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """Return the words that run in what the entrypoint, which is not run here, has exported.

        The other result is the environment for Compose. The ``given`` variables are set already.
        """
        container = self._dc.container(self._project.backend)
        exported = server_variables(self._gateway, container) if container else {}
        wanted = {name: value for name, value in exported.items() if name not in given}
        words, value = exporting(wanted, words)
        return words, {EXPORTS: value} if value else {}

    def current_url(self) -> str:
        """Return the URL if the container was made from the image as it is now, else ""."""
        backend = next((service for service in self._stack.runner.ps() if service.url), None)
        if not backend:
            return ""
        used = ["docker", "inspect", "--format", "{{.Image}} {{.Config.Image}}", backend.container]
        id_, *name = self._gateway.ask(used).out.split() or [""]
        current = ["docker", "image", "inspect", "--format", "{{.Id}}", *name]
        return backend.url if [id_] == self._gateway.ask(current).out.split() else ""

    def shell(self, service: str, argv: Sequence[str]) -> int:
        return self._exec(service, argv)

    def django_shell(self, args: Sequence[str]) -> int:
        manage = self._manage_command
        return self._exec(self._project.backend, [*manage.words, "shell", *args], *manage.options)

    def _exec(
        self, service: str, argv: Sequence[str], *options: str, more: Mapping[str, str] = {}
    ) -> int:
        """Run ``docker compose exec``, marked so that a killed command can be found.

        The values of ``more`` variables go through the environment: they may be secrets.
        """
        passed = dict(more)
        if service == self._project.backend:
            argv, exports = self._exporting(argv, {*more, *plain_environment()})
            passed |= exports
        with self._call(service) as call:
            variables = {MARK: call} | plain_environment()
            env = _env([*(f"{name}={value}" for name, value in variables.items()), *passed])
            words = ("exec", *_no_tty(), *env, *options, service, *argv)
            code = self._dc.run(*words, services=[service], env=passed, typed="all")
        if code and service not in self._dc.running():
            raise NotFoundError(f"{service} is not running.", "Type: inv up")
        return code

    def dbshell(self, args: Sequence[str], command: str = "") -> int:
        if isinstance(store := self._stack.store, MountedFileStore):
            from composed.data.sqlite import client  # noqa: PLC0415  # few projects need it

            store.take_over()
            return self._gateway.run(client(store.file, args, command))
        user, name = self._database.login
        options = ["--username", user, "--dbname", name]
        if command or not sys.stdin.isatty():
            options += ["--set", "ON_ERROR_STOP=1"]
        options += ["--command", command] if command else []
        return self.shell(self._database.name, ["psql", *options, *args])

    def _owner(self) -> list[str]:
        """Return the options that run a command as the owner of the source.

        With ``APP_UID`` only a source of root needs them: the backend runs as 1000 there.
        On a rootless engine the container's 0 is the user. Without ``APP_UID`` only a backend of
        root needs them: another user of an image may have the packages in a home of its own.
        """
        owner, app = self._project.owner, self._stack.settings.values.get("APP_UID")
        if app == "0" or (app and owner.st_uid) or (not app and not self._is_of_root()):
            return []
        if not app and engine.is_rootless(self._gateway):
            return ["--user", "0:0"]
        return ["--user", f"{owner.st_uid}:{owner.st_gid}"]

    def _is_of_root(self) -> bool:
        """Return whether the backend starts as root: by the Compose file, the image or its build.

        An entrypoint may change over to another user, but none runs here.
        """
        model = self._dc.model()
        service = model.service(self._project.backend)
        user = service.user
        if not user:
            ask = ["docker", "image", "inspect", "--format", "{{.Config.User}}"]
            answer = self._gateway.ask([*ask, model.image(service)])
            not_built = answer.code and service.build
            user = service.build.read().user if not_built and service.build else answer.out.strip()
        return user.partition(":")[0] in ("", "0", "root")

    def _unable_to_write(self) -> str:
        """Return the uid of the backend if that user may not write to the tree, else ""."""
        manage, backend = self._manage_command, self._project.backend
        folder = posixpath.dirname(manage.words[-1]) or "."
        with self._call() as call:
            run = ["run", "--rm", "--no-deps", "--no-TTY", "--label", f"{LABEL}={call}"]
            run += [*manage.options, "--entrypoint", "sh", backend, "-c", _UNABLE, "sh", folder]
            answer = self._gateway.ask(self._dc.argv(*run))
        return answer.out.strip() if answer.out.strip().isdecimal() else ""

    def _about_writing(self, user: str) -> str:
        """Return the sentence, with the variable or key that chooses another user."""
        project, backend = self._project, self._project.backend
        uid, gid = project.owner.st_uid, project.owner.st_gid
        problem = f"{backend} runs as user {user}, who may not write to {project.base}."
        if setting := self._dc.written_model().service(backend).setting_of_user:
            return f"{problem}\n  Write {setting}={uid} into .env, then type: inv build"
        key = f'give {backend} the key user: "{uid}:{gid}" in the Compose file.'
        return f"{problem}\n  Let that user write there, or {key}"

    @contextlib.contextmanager
    def _call(self, service: str = "") -> Iterator[str]:
        """Record a call; an interrupted call is cleaned up before the verb ends."""
        try:
            with self._calls.under_way(service) as call:
                yield call
        except Interrupted:
            self._stack.clean_up()
            raise


def _env(variables: Iterable[str]) -> list[str]:
    return [word for variable in variables for word in ("--env", variable)]


def _typed(args: Sequence[str]) -> Typed:
    """Return what a management command gets of the typed text: `migrate` asks, at most."""
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return "answers" if on_terminal and args[:1] == ("migrate",) else "all"


def _no_tty() -> list[str]:
    """Return the option without which a pipe would get the codes of a terminal."""
    return [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--no-TTY"]
