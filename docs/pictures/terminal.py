"""Records a shell session on a pseudo-terminal and writes it as an animated SVG."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import pexpect
import pyte
from pyte.screens import Char

__all__ = ["Recording"]

PROMPT = "$"
LONGEST_COMMAND = 300.0  # seconds; a first start makes .venv and builds an image
SAMPLE = 0.1  # seconds between two looks at the screen
LONGEST_PAUSE = 0.5  # seconds of a frame; a longer wait is shortened to this
MOST_FRAMES = 20  # of a command; more are thinned out evenly
TYPING_STEPS, TYPING = 6, 0.15  # frames of a typed command, and the seconds of each
READING = 1.8  # seconds between the end of a command and the next
LAST_FRAME = 8.0  # seconds before the recording starts again

CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 14  # pixels
BACKGROUND, TEXT = "#16191f", "#d6dae0"
COLOURS = {
    "black": "#7d8590",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",  # pyte's name of ANSI yellow
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
}
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

Line = tuple[Char, ...]
Screen = tuple[Line, ...]


@dataclass
class Frame:
    """A state of the screen, and the seconds that the recording shows the state."""

    screen: Screen
    seconds: float


class Recording:
    """A shell in ``folder``; each typed command adds frames."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, columns: int = 98, rows: int = 34
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._frames: list[Frame] = []
        # The shell writes each exit code there: that is the end of a command.
        self._exit_code = Path(tempfile.mkdtemp(prefix="recording-")) / "exit-code"
        settings = {
            "TERM": "xterm-256color",
            "PS1": f"\\n{PROMPT} ",  # a body of JSON ends without a line end
            "PROMPT_COMMAND": f"echo $? > {self._exit_code}",
        }
        self._shell = pexpect.spawn(
            "bash",
            ["--noprofile", "--norc"],
            cwd=str(folder),
            env={**environment, **settings},
            dimensions=(rows, columns),
        )
        self._frames_until_prompt()

    def type(self, command: str) -> None:
        """Type the command, wait for its end and keep the frames; raises when it fails."""
        self._exit_code.unlink()
        size = -(-len(command) // TYPING_STEPS)
        for start in range(0, len(command), size):
            self._shell.send(command[start : start + size])
            time.sleep(SAMPLE)
            self._read()
            self._frames.append(Frame(self._now(), TYPING))
        self._shell.sendline()
        frames = self._frames_until_prompt()
        step = max(1, len(frames) // MOST_FRAMES)
        self._frames += [*frames[:-1:step], Frame(frames[-1].screen, READING)]
        if (code := self._exit_code.read_text().strip()) != "0":
            raise RuntimeError(f"{command} ended with {code}:\n{self._text()}")

    def write(self, file: Path) -> None:
        """Write all frames as one animated SVG; a reader without motion sees the last frame."""
        self._frames[-1].seconds = LAST_FRAME
        file.write_text(as_svg(self._frames, self._screen.columns, self._screen.lines))

    def _frames_until_prompt(self) -> list[Frame]:
        """Return a frame for each change of the screen until the shell shows its prompt."""
        frames: list[Frame] = []
        end = time.monotonic() + LONGEST_COMMAND
        while time.monotonic() < end:
            time.sleep(SAMPLE)
            self._read()
            if frames and frames[-1].screen == self._now():
                frames[-1].seconds = min(frames[-1].seconds + SAMPLE, LONGEST_PAUSE)
            else:
                frames.append(Frame(self._now(), SAMPLE))
            if self._exit_code.exists() and self._current_line() == PROMPT.strip():
                return frames
        raise TimeoutError(
            f"No prompt after {LONGEST_COMMAND} s:\n" + "\n".join(self._screen.display)
        )

    def _read(self) -> None:
        with contextlib.suppress(pexpect.TIMEOUT):
            self._stream.feed(self._shell.read_nonblocking(1 << 16, timeout=0))

    def _now(self) -> Screen:
        buffer, columns = self._screen.buffer, range(self._screen.columns)
        return tuple(tuple(buffer[row][c] for c in columns) for row in range(self._screen.lines))

    def _text(self) -> str:
        return "\n".join(self._screen.display)

    def _current_line(self) -> str:
        return str(self._screen.display[self._screen.cursor.y]).rstrip()


def as_svg(frames: list[Frame], columns: int, rows: int) -> str:
    """Return an SVG that shows a frame after the other: a tall film moves past a window."""
    width = round(columns * CELL_WIDTH + 2 * MARGIN)
    height = rows * CELL_HEIGHT + 2 * MARGIN
    lines: dict[str, str] = {}  # each different line once, by its drawing
    film = []
    for number, frame in enumerate(frames):
        for row, line in enumerate(frame.screen):
            if drawing := "".join(_runs(line)):
                name = lines.setdefault(drawing, f"l{len(lines)}")
                y = number * height + MARGIN + (row + 0.75) * CELL_HEIGHT
                film.append(f'<use href="#{name}" x="{MARGIN}" y="{y:g}"/>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}">',
            "<title>A first session with Composed, recorded in a terminal</title>",
            f"<style>{_style(frames, height)}</style>",
            "<defs>",
            *(f'<text id="{name}">{drawing}</text>' for drawing, name in lines.items()),
            "</defs>",
            f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
            '<g class="film">',
            *film,
            "</g>",
            "</svg>\n",
        ]
    )


def _runs(line: Line) -> Iterator[str]:
    """Yield the drawing of each run of cells that look alike, without the blank end."""
    column = 0
    for (colour, bold), cells in groupby(line, key=lambda char: (char.fg, char.bold)):
        text = "".join(char.data for char in cells)
        start, column = column, column + len(text)
        if not text.strip():
            continue
        fill = COLOURS.get(colour.removeprefix("bright"), f"#{colour}" if len(colour) == 6 else "")
        attributes = f' fill="{fill}"' if fill else ""
        attributes += ' font-weight="bold"' if bold else ""
        attributes += f' x="{start * CELL_WIDTH:g}"'
        # A font of another width would move the columns apart.
        attributes += f' textLength="{len(text.rstrip()) * CELL_WIDTH:g}"'
        yield f"<tspan{attributes}>{escape(text.rstrip(), quote=False)}</tspan>"


def _style(frames: list[Frame], height: int) -> str:
    total = sum(frame.seconds for frame in frames)
    shown, keys = 0.0, []
    for number, frame in enumerate(frames):
        keys.append(f"{100 * shown / total:.3f}%{{transform:translateY(-{number * height}px)}}")
        shown += frame.seconds
    last = f"translateY(-{(len(frames) - 1) * height}px)"
    return (
        f"text{{font:14px {FONT};fill:{TEXT};white-space:pre}}"
        f".film{{animation:film {total:.1f}s steps(1,end) infinite}}"
        f"@keyframes film{{{''.join(keys)}100%{{transform:{last}}}}}"
        f"@media (prefers-reduced-motion:reduce){{.film{{animation:none;transform:{last}}}}}"
    )
