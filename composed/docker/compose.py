"""``docker compose`` for a project: the commands, and an error for each failure."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from composed.calls import Calls
from composed.compose_files import STANDARD, ComposeFiles, check_files
from composed.docker import engine
from composed.env.settings import NAME, Settings
from composed.errors import InputOutputError, NotFoundError, SettingError, end_with
from composed.gateway import Gateway, Typed
from composed.project import Project
from composed.terminal import is_plain

if TYPE_CHECKING:  # `inv ps` has to be quick
    from composed.docker.model import Model

# For names alone: Compose would look for the files of each service of each profile.
EVERY_PROFILE = {"COMPOSE_PROFILES": "*"}

OVERRIDE = "override.yml"  # a Compose file of ours, with the ports that inv chose

CONFIGURATION_FAILED = (14, 15)  # exit codes of Compose: a file is missing or wrong

PROJECT_LABEL = "com.docker.compose.project"  # the label of everything that belongs to a project
# A call record names a one-off container by a label, a process in a service by a variable.
LABEL, MARK = "composed.call", "COMPOSED_CALL"

SECONDS_TO_END = "5"  # of an interrupted one-off container

# Children inherit the mark with the environment, so they end too.
_KILL_MARKED = f"""
for process in /proc/[0-9]*; do
  grep -qzx "{MARK}=$1" "$process/environ" 2>/dev/null && kill -KILL "${{process#/proc/}}"
done; true
"""


class Compose:
    """Runs Compose with the env files ``files``, and with ``compose_files``, which may be none.

    ``keys`` has the ``[tool.composed]`` key of a service. ``override`` is a Compose file of ours.
    ``name`` is the project's, "" where the env files name it. ``project`` explains profiles.
    """

    def __init__(
        self,
        gateway: Gateway,
        files: Sequence[Path],
        keys: Mapping[str, str] | None = None,
        compose_files: ComposeFiles | None = None,
        override: Path | None = None,
        name: str = "",
        project: Project | None = None,
    ) -> None:
        self._project = project
        self.gateway, self._files, self._keys = gateway, files, keys or {}
        self._compose_files, self._override = compose_files, override
        self._name, self._is_checked = name, False

    def argv(self, *args: str) -> list[str]:
        """Return the whole command; paths in the root are short, for people to read and copy."""
        options = [word for file in self._files for word in ("--env-file", self._short(file))]
        options += [word for file in self._named() for word in ("--file", self._short(file))]
        options += ["--project-name", self._name] if self._name else []
        plain = ["--ansi", "never", "--progress", "plain"] if is_plain() else []
        return ["docker", "compose", *options, *plain, *args]

    def _named(self) -> tuple[Path, ...]:
        """Return the Compose files to name: none where Compose finds all of them by itself."""
        if not self._compose_files:
            return ()
        if self._override and self._uses(self._override):
            return (*self._compose_files.all(), self._override)
        # With a name and no file, Compose makes up a project of the containers that there are, and
        # fails where one of them has lost a dependency: projectOrName in cmd/compose/compose.go.
        return self._compose_files.all() if self._name else self._compose_files.named

    def _uses(self, override: Path) -> bool:
        """Return whether our own file is there, without what has left the Compose file since."""
        if not override.exists():
            return False
        if not self._is_checked:
            from composed.docker.override import still_fits  # noqa: PLC0415  # `inv ps` is quick

            self._is_checked = True
            if not still_fits(self.gateway, override, self.state(), self._without_override()):
                self._override = None if self.gateway.dry else override  # a dry run keeps the file
                return False
        return True

    def _without_override(self) -> Compose:
        files, name = self._compose_files, self._name
        return Compose(self.gateway, self._files, self._keys, files, None, name, self._project)

    def state(self) -> str:
        """Return a hash of all that the ports of the Compose files depend on."""
        from composed.docker.override import state_of  # noqa: PLC0415  # `inv ps` is quick

        files = self._compose_files.all() if self._compose_files else ()
        return state_of(files, self._files, os.environ)

    def _short(self, file: Path) -> str:
        root = self.gateway.cwd
        return str(file.relative_to(root) if file.is_relative_to(root) else file)

    def run(
        self,
        *args: str,
        services: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        insist: bool = True,
        without: bytes = b"",
        typed: Typed = "none",
    ) -> int:
        """Run on the terminal and return the exit code; for the options see the gateway.

        Raises the cause of a failure that is not the command's own: an engine that does not
        answer, an unknown service in ``services``, files that Compose cannot read.
        """
        argv = self.argv(*args)
        code = self.gateway.run(argv, env=env, insist=insist, without=without, typed=typed)
        if code:
            if error := engine.problem(self.gateway):
                raise error
            self.check(services)
            if args[0] == "up" and not services and not self.services():
                self._check_profiles("", {})
        if code in CONFIGURATION_FAILED:  # or the exit code of a command in a container
            self.ask("config", "--quiet")
        return code

    def run_or_end(self, *args: str) -> None:
        """Run on the terminal; a failure ends the verb with Compose's exit code."""
        end_with(self.run(*args))

    def ask(self, *args: str, env: Mapping[str, str] | None = None) -> str:
        """Return the output; raise :class:`EngineError` or :class:`SettingError` on failure."""
        answer = self.gateway.ask(self.argv(*args), env=env)
        if answer.code == 0:
            return answer.out
        if error := engine.problem(self.gateway):
            raise error
        if refuses_env_file(answer.err):  # Compose quotes values, which may be secrets
            raise SettingError("Compose refuses an env file.", "See which line: inv env --check")
        raise self._configuration_error(args[0], answer.err)

    def _configuration_error(self, command: str, err: str) -> SettingError:
        """Return the error of a Compose file, without Compose's warnings about other things."""
        lines = [line for line in err.strip().splitlines() if "level=warning" not in line]
        reason = "\n".join(lines) or err.strip()
        if missing := re.search(r"env file (\S+) not found", reason):
            file = Path(missing[1])
            problem = f"The Compose file names an env file that is not there: {self._short(file)}."
            return SettingError(problem, *self._sample_of(file))
        if required := re.search(r"required variable (\w+) is missing a value", reason):
            problem = f"The Compose file needs a value of {required[1]}."
            return SettingError(problem, f"Write it into .env: {required[1]}=…", "Or: inv env")
        if "no configuration file provided" in reason:
            problem = f"There is no Compose file in {self.gateway.cwd}."
            key = 'Name yours in pyproject.toml: [tool.composed] compose_files = ["FILE"]'
            return SettingError(problem, f"Composed looks for {', '.join(STANDARD)}.", key)
        problem = f"docker compose {command} failed: {reason}"
        if self._override and self._is_at_fault(self._override):
            cure = f"Type: rm {shlex.quote(self._short(self._override))}"
            return SettingError(
                problem, "The cause is our file with the ports that inv chose.", cure
            )
        return SettingError(problem, "Correct the Compose file, then type the same command again.")

    def _is_at_fault(self, override: Path) -> bool:
        """Return whether Compose can read its files without our own one, and not with it."""
        if not override.exists():
            return False
        both = (self.argv("config", "--quiet"), self._without_override().argv("config", "--quiet"))
        ours, theirs = (self.gateway.ask(argv).code for argv in both)
        return bool(ours) and not theirs

    def _sample_of(self, file: Path) -> list[str]:
        """Return the commands that copy each sample of an env file."""
        names = [f"{file.name}{end}" for end in ("-sample", ".sample", ".example", "-example")]
        names += [f"{file.name}{end}" for end in (".dist", "-dist", ".template")]
        names += [file.name.replace(".env", ".env.example"), file.name.replace(".env", "env")]
        samples = (file.with_name(name) for name in dict.fromkeys(names))
        found = [self._short(sample) for sample in samples if sample.is_file()]
        own = shlex.quote(self._short(file))
        return [f"Type: cp {shlex.quote(sample)} {own}" for sample in found] or [f"Make {own}"]

    def model(self, env: Mapping[str, str] | None = None) -> Model:
        """Return the resolved model of the project; ``env`` wins over the env files."""
        from composed.docker.model import Model  # noqa: PLC0415

        return Model.resolved(self.ask("config", "--format", "json", env=env))

    def written_model(self) -> Model:
        """Return the model before interpolation, with ``${NAME}`` in the values."""
        from composed.docker.model import Model  # noqa: PLC0415

        return Model.written(self.ask("config", "--no-interpolate", "--format", "json"))

    def services(self, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the services of the project, by default without profiles that are not active."""
        return self.ask("config", "--services", env=env).split()

    def strays(self, existing: Iterable[str]) -> list[str]:
        """Return those of the existing services that belong to a profile that is not active.

        Compose acts on such a service only by its name: COMPOSE_PROFILES was set for the start.
        """
        if not (left := set(existing).difference(self.services())):
            return []
        return sorted(left.intersection(self.services(EVERY_PROFILE)))  # the rest left the file

    def running(self) -> list[str]:
        """Return the services that run."""
        return self.ask("ps", "--services", "--status", "running").split()

    def container(self, service: str) -> str:
        """Return the id of a running container of a service; "" for none."""
        return "".join(self.gateway.ask(self.argv("ps", "--quiet", service)).out.split()[:1])

    def check(self, services: Iterable[str], known: Collection[str] | None = None) -> None:
        """Raise :class:`NotFoundError` for an unknown service; asks Compose unless ``known``.

        The ``known`` are active; with none of them, a service can still be started by its name.
        """
        active = known
        for name in services:
            known = known or self.services(EVERY_PROFILE)
            if name not in known:
                if active is not None:
                    self._check_profiles(name, active)
                key = self._keys.get(name)
                setting = f'Name yours in pyproject.toml: [tool.composed] {key} = "SERVICE"'
                raise NotFoundError(
                    f"There is no service {name!r}.",
                    f"Services: {', '.join(sorted(known))}.",
                    *([setting] if key else []),
                )

    def _check_profiles(self, name: str, active: Collection[str]) -> None:
        """Raise :class:`NotFoundError` for a service, or all, of profiles that are not active."""
        from composed.docker.profiles import inactive, problem  # noqa: PLC0415  # only for an error

        if not self._project:
            return
        found = inactive(self._project, self, self.model())
        if found.names and (name in found.names or not active):
            words, cures = problem(self._project, found, name)
            raise NotFoundError(f"{words}.", *cures)

    def volumes(self) -> dict[str, str]:
        """Return the project of every volume on the engine, by name; "" for none."""
        form = f'{{{{.Name}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
        lines = self.output(["docker", "volume", "ls", "--format", form]).splitlines()
        return {name: owner for name, _, owner in (line.partition(" ") for line in lines)}

    def output(self, argv: Sequence[str], *, effect: bool = False) -> str:
        """Return the stdout of a question, or of an ``effect``; a failure is a ComposedError."""
        answer = self.gateway.do(argv) if effect else self.gateway.ask(argv)
        if answer.code == 0:
            return answer.out
        problem = f"{' '.join(argv)} failed: {answer.err.strip()}"
        raise engine.problem(self.gateway) or InputOutputError(problem)

    def end_abandoned(self, calls: Calls) -> None:
        """End the calls of killed verbs; a call that cannot be ended stays recorded."""
        for call, service in calls.abandoned().items():
            if self._kill(service, call) if service else self._remove_one_off(call):
                calls.forget(call)

    def _remove_one_off(self, call: str) -> bool:
        label = f"label={LABEL}={call}"
        answer = self.gateway.ask(["docker", "ps", "--all", "--quiet", "--filter", label])
        if ids := answer.out.split():
            # As Ctrl-C does: a statement in the database can then be canceled.
            self.gateway.do(["docker", "stop", "--signal", "INT", "--time", SECONDS_TO_END, *ids])
            return self.gateway.do(["docker", "rm", "--force", *ids]).code == 0
        return answer.code == 0

    def _kill(self, service: str, call: str) -> bool:
        kill = self.argv("exec", "--no-TTY", service, "sh", "-c", _KILL_MARKED, "sh", call)
        if self.gateway.do(kill).code == 0:
            return True
        answer = self.gateway.ask(self.argv("ps", "--services", "--status", "running"))
        return answer.code == 0 and service not in answer.out.split()


def compose_of(
    project: Project, settings: Settings, gateway: Gateway, keys: Mapping[str, str] | None = None
) -> Compose:
    """Return Compose for a project; an env file that is not there is left out.

    A name that Compose makes up is handed on: what the verbs ask the engine by it and what Compose
    starts has to be the same stack. Raises :class:`SettingError` where a pipe or a device stands in
    place of a Compose file.
    """
    files = [file for file in settings.files if project.owns_env or os.path.lexists(file)]
    override = project.folder(settings[NAME]) / OVERRIDE
    check_files(project.root, project.compose, override)
    name = "" if project.owns_env else settings[NAME]
    return Compose(gateway, files, keys, project.compose, override, name, project)


def refuses_env_file(err: str) -> bool:
    """Return whether this stderr of Compose says that an env file has a syntax error."""
    return any(line.startswith("failed to read ") for line in err.splitlines())
