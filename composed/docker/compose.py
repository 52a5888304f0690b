"""``docker compose`` on one project: its argument lists, and its failures in our words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from composed.docker import engine
from composed.docker.model import SEE_MODEL, Model
from composed.errors import NotFoundError, SettingError, end_with
from composed.gateway import Gateway
from composed.terminal import is_plain

__all__ = ["Compose", "refuses_env_file"]

CONFIGURATION_FAILED = (14, 15)  # as Compose ends where a file is missing or wrong


class Compose:
    """Runs Compose with the project's own env files, in the project's root."""

    def __init__(
        self, gateway: Gateway, files: Sequence[Path], keys: Mapping[str, str] | None = None
    ) -> None:
        """Take the env files, and the services that ``[tool.composed]`` names with their keys."""
        self.gateway = gateway
        self._files = files
        self._keys = keys or {}

    def argv(self, *args: str) -> list[str]:
        """Return the whole command; paths in the root are short, to be read and copied."""
        files = [part for file in self._files for part in ("--env-file", self._short(file))]
        plain = ["--ansi", "never", "--progress", "plain"] if is_plain() else []
        return ["docker", "compose", *files, *plain, *args]

    def run(
        self,
        *args: str,
        services: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        insist: bool = True,
        without: bytes = b"",
    ) -> int:
        """Run on the terminal and return the exit code; the rest goes to the gateway.

        A failure that is not the command's own is raised: an engine that does
        not answer, one of ``services`` that is unknown, files that Compose cannot read.
        """
        code = self.gateway.run(self.argv(*args), env=env, insist=insist, without=without)
        if code:
            if error := engine.problem(self.gateway):
                raise error
            self.check(services)
        if code in CONFIGURATION_FAILED:  # or what the command inside ended with
            self.ask("config", "--quiet")
        return code

    def run_or_end(self, *args: str) -> None:
        """Run on the terminal; a failure ends the verb with Compose's exit code."""
        end_with(self.run(*args))

    def ask(self, *args: str, env: Mapping[str, str] | None = None) -> str:
        """Return what Compose prints; raises when it fails, since a question should not."""
        answer = self.gateway.ask(self.argv(*args), env=env)
        if answer.code == 0:
            return answer.out
        raise engine.problem(self.gateway) or _refusal(args[0], answer.err.strip())

    def model(self, env: Mapping[str, str] | None = None) -> Model:
        """Return the resolved model of the project."""
        return Model.resolved(self.ask("config", "--format", "json", env=env))

    def written_model(self) -> Model:
        """Return the model before interpolation, with ``${NAME}`` in its values."""
        return Model.written(self.ask("config", "--no-interpolate", "--format", "json"))

    def running(self) -> list[str]:
        """Return the services that run."""
        return self.ask("ps", "--services", "--status", "running").split()

    def check(self, services: Sequence[str]) -> None:
        """Raise :class:`NotFoundError` for the first service that the project does not have."""
        if services:
            self.find(services, self.ask("config", "--services").split())

    def find(self, services: Iterable[str], known: Collection[str]) -> None:
        """Raise :class:`NotFoundError` for the first service that is not among the known."""
        for name in services:
            if name not in known:
                key = self._keys.get(name)
                setting = f'Name yours in pyproject.toml: [tool.composed] {key} = "SERVICE"'
                raise NotFoundError(
                    f"There is no service {name!r}.",
                    f"Services: {', '.join(sorted(known))}.",
                    *([setting] if key else []),
                )

    def _short(self, file: Path) -> str:
        root = self.gateway.cwd
        return str(file.relative_to(root) if file.is_relative_to(root) else file)


def refuses_env_file(err: str) -> bool:
    """Say whether Compose ended, with this on stderr, because it cannot take an env file apart."""
    return any(line.startswith("failed to read ") for line in err.splitlines())


def _refusal(command: str, err: str) -> SettingError:
    """Return why Compose failed; of an env file not in its words, which quote values."""
    if refuses_env_file(err):
        return SettingError("Compose refuses an env file.", "See which line: inv env --check")
    return SettingError(f"docker compose {command} failed: {err}", SEE_MODEL)
