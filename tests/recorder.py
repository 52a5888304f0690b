"""A stand-in for the gateway: lists every command, gives prepared answers."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from composed.gateway import Answer, Typed


@dataclass
class Call:
    """A command for the gateway; ``kind`` is ``run``, ``ask``, ``pipe`` or ``spawn``."""

    kind: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    text: str = ""  # stdin
    insist: bool = False
    without: bytes = b""
    typed: Typed = "all"


class Rule:
    """A prepared answer to the commands that have some words."""

    def __init__(self, words: Sequence[str]) -> None:
        parts = (re.escape(word).replace("…", "[^\0]*") for word in words)
        self.pattern = re.compile("\0".join(["", *parts, ""]))
        self.answer: Callable[[Call], Answer] = lambda _: Answer(0, "", "")

    def say(self, out: str = "", *, code: int = 0, err: str = "") -> None:
        self.give(Answer(code, out, err))

    def give(self, answer: Answer) -> None:
        self.do(lambda _: answer)

    def do(self, answer: Callable[[Call], Answer]) -> None:
        self.answer = answer

    def matches(self, call: Call) -> bool:
        return self.pattern.search("\0".join(["", *call.argv, ""])) is not None


class FakePipe:
    """Stands for a process with pipes."""

    def __init__(self, answer: Answer) -> None:
        self.stdin = io.BytesIO()
        self.stdout = io.BufferedReader(io.BytesIO(answer.out.encode()))
        self._answer = answer

    def end(self) -> Answer:
        return self._answer._replace(out=self.stdout.read().decode())


class Recorder:
    """Lists every command in ``calls``; without a prepared answer a command answers 0."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.taken: set[int | tuple[str, int]] = set()  # ports, at any address or at an address
        self.pids: Callable[[int], dict[int, str]] = lambda port: {}  # listeners
        self.http: Callable[[str], tuple[int, str]] = lambda url: (0, "")
        self._rules: list[Rule] = []

    def on(self, *words: str) -> Rule:
        """Prepare an answer to commands that have these words side by side.

        ``…`` in a word stands for any text. The last rule that matches wins.
        """
        self._rules.insert(0, Rule(words))
        return self._rules[0]

    @property
    def ran(self) -> list[list[str]]:
        return [call.argv for call in self.of("run")]

    @property
    def asked(self) -> list[list[str]]:
        return [call.argv for call in self.of("ask")]

    @property
    def piped(self) -> list[list[str]]:
        return [call.argv for call in self.of("pipe")]

    @property
    def fed(self) -> list[str]:
        """The stdin of each command in ``piped``."""
        return [call.text for call in self.of("pipe")]

    def of(self, kind: str) -> list[Call]:
        return [call for call in self.calls if call.kind == kind]

    def lines(self, kind: str) -> list[str]:
        return [" ".join(call.argv) for call in self.of(kind)]

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        insist: bool = False,
        without: bytes = b"",
        typed: Typed = "all",
    ) -> int:
        call = Call("run", list(argv), dict(env or {}), cwd, "", insist, without, typed)
        return self._answer(call).code

    def ask(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        text: str = "",
    ) -> Answer:
        return self._answer(Call("ask", list(argv), dict(env or {}), cwd, text))

    def spawn(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, listener: object
    ) -> int:
        """Return the PID that was prepared as stdout."""
        return int(self._answer(Call("spawn", list(argv), dict(env), cwd)).out)

    @contextmanager
    def pipe(self, argv: Sequence[str], chunks: Iterable[bytes] = ()) -> Iterator[FakePipe]:
        call = Call("pipe", list(argv))
        pipe = FakePipe(self._answer(call))
        pipe.stdin.write(b"".join(chunks))
        try:
            yield pipe
        finally:
            call.text = pipe.stdin.getvalue().decode(errors="replace")

    def fetch(self, url: str) -> tuple[int, str]:
        return self.http(url)

    def is_bound(self, host: str, port: int) -> bool:
        return not self.taken.isdisjoint({port, (host, port)})

    def listeners(self, port: int) -> dict[int, str]:
        return self.pids(port)

    def _answer(self, call: Call) -> Answer:
        self.calls.append(call)
        rule = next((rule for rule in self._rules if rule.matches(call)), None)
        return rule.answer(call) if rule else Answer(0, "", "")
