"""Read settings from environment variables, strictly: a wrong value is an error, never a guess."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

__all__ = ["Environment"]

_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Environment:
    """Typed access to variables; an empty variable counts as absent: Compose passes those, too."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str | None = None) -> str:
        """Return the variable or the default; raise ImproperlyConfigured when both are absent."""
        value = self._variables.get(name, "").strip() or default
        if value is None:
            raise ImproperlyConfigured(f"{name} is missing: set this environment variable.")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return the variable; raise ImproperlyConfigured for any value but the choices."""
        wanted = " or ".join(choices)
        if (value := self.text(name, default="")) not in choices:
            problem = f"{value!r} is not valid" if value else "missing"
            raise ImproperlyConfigured(f"{name}: {problem}, set it to {wanted}.")
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return the variable as a truth value."""
        value = self.text(name, default=str(default))
        try:
            return _BOOLEANS[value.lower()]
        except KeyError:
            valid = ", ".join(_BOOLEANS)
            raise ImproperlyConfigured(
                f"{name}: {value!r} is not a truth value, valid are {valid}."
            ) from None

    def integer(self, name: str, *, default: int, maximum: int) -> int:
        """Return the variable as a number from 1 to the maximum."""
        value = self.text(name, default=str(default))
        # isdecimal alone would accept the digits of every script, int alone "1_000" and "+1"
        if not (value.isascii() and value.isdecimal() and 1 <= int(value[:12]) <= maximum):
            raise ImproperlyConfigured(
                f"{name}: {value!r} is not valid, set it to a whole number from 1 to {maximum}."
            )
        return int(value)

    def words(self, name: str) -> list[str]:
        """Return the variable's comma-separated words; an empty list for an absent variable."""
        return [word.strip() for word in self.text(name, default="").split(",") if word.strip()]

    def secret(self, name: str) -> str:
        """Return the variable, or the text of the file that NAME_FILE names."""
        path = self.text(f"{name}_FILE", default="")
        if not path:
            return self.text(name)
        if self.text(name, default=""):
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: set one of them.")
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ImproperlyConfigured(f"{name}_FILE: {path!r} cannot be read: {reason}.") from None
        if not secret:
            raise ImproperlyConfigured(f"{name}_FILE: {path!r} is empty.")
        return secret
