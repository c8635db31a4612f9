"""One live view of a Run on a terminal: its states with their times, progress and usage, beneath its scrolling console.

The console's bytes never meet the view: it is taken away before they are written, and drawn anew after them.
"""

import os
import re
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from temporal_runs.cli import output

if TYPE_CHECKING:
    from temporal_runs.status import RunFacts, RunStatus

BAR = 40
"""Columns of a progress bar, where there are so many."""

DRAW_SECONDS = 0.05
"""Between two views, at least, while a command prints."""

LONGEST_LINE = 2**16
"""Bytes of an unfinished line that the view shows the end of; a longer one is written as it is."""

CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f]")


def suits(page: Console) -> bool:
    """Whether a page can hold what changes: a terminal that moves its cursor, and somebody before it."""
    return page.is_terminal and not page.is_dumb_terminal and not os.environ.get("CI")


class LiveView:
    """`with`: the view of one Run; what it leaves behind is the states with their times."""

    def __init__(self, page: Console, stream: BinaryIO) -> None:
        """`stream` takes the console; where it is no terminal, the view stays alone on its page."""
        self._page = page
        self._stream = stream
        self._shares = stream.isatty()
        self._status: RunStatus | None = None
        self._trouble = ""
        self._cpu = Pace()
        self._unfinished = b""
        """what is not written yet"""
        self._drawn_at = 0.0
        self._shown: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        if self._unfinished:
            self._put(self._unfinished.removesuffix(b"\n") + b"\n")
        if self._status:
            self._page.print(passed(self._status), soft_wrap=False)

    def show(self, status: "RunStatus") -> None:
        """The Run as it is now, or was a moment ago: of two who ask, the one that asked first may be told last."""
        known = self._status
        if known and known.execution_id == status.execution_id and len(known.history) > len(status.history):
            return
        self._status, self._trouble = status, ""
        self._cpu.read((status.progress or {}).get("cpu_seconds"))
        self.draw()

    def complain(self, trouble: str) -> None:
        """Shows why nothing newer is known, until something is."""
        self._trouble = trouble
        self.draw()

    def write(self, piece: bytes) -> None:
        """Bytes of the console. A line that is not finished, a progress bar say, is shown at the top of the view."""
        if not self._shares:
            self._put(piece)
            return
        self._unfinished += piece
        # A command that prints a thousand times a second is not worth as many views.
        if time.monotonic() - self._drawn_at > DRAW_SECONDS:
            self.draw()

    def say(self, text: str) -> None:
        """Talk that belongs behind what the console has printed so far."""
        self.draw()
        self._page.print(text)

    def draw(self) -> None:
        """Writes the lines of the console that have come, and shows the Run as it is at this moment."""
        self._drawn_at = time.monotonic()
        lines, newline, rest = self._unfinished.rpartition(b"\n")
        if len(rest) > LONGEST_LINE:
            lines, newline, rest = lines + newline + rest, b"\n", b""
        if newline:
            self._clear()
            self._put(lines + newline)
            self._unfinished = rest
        if self._status is None:
            return
        view = Group(*self._lines(self._status))
        if self._shown is None:
            self._shown = Live(
                view, console=self._page, auto_refresh=False, transient=True, redirect_stdout=False,
                redirect_stderr=False,
            )  # fmt: skip
            self._shown.start(refresh=True)
        else:
            self._shown.update(view, refresh=True)

    def _lines(self, status: "RunStatus") -> list[RenderableType]:
        lines: list[RenderableType] = []
        if self._unfinished:
            last = self._unfinished.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
            lines.append(_line(CONTROL.sub("", last)))
        lines.append(passed(status, datetime.now(UTC)))
        if self._trouble:
            lines.append(_line(self._trouble, "yellow"))
        if status.state.is_final:
            return lines
        done = status.progress or {}
        running = "last_lines" in done
        lines.append(_line(status.reason or "" if running else output.now(status), "dim"))
        if running and (used := usage(done, self._cpu.pace)):
            lines.append(_line(used))
        if done.get("total"):
            width = min(BAR, self._page.width)
            lines.append(ProgressBar(total=done["total"], completed=done.get("current", 0), width=width))
        return lines

    def _put(self, piece: bytes) -> None:
        self._stream.write(piece)
        self._stream.flush()

    def _clear(self) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


class Pace:
    """How fast something that only grows does so, by two looks at it."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self.pace: float | None = None
        """a second; None as long as it was not seen twice"""

    def read(self, value: float | None) -> None:
        """One look; the same value again was not measured anew."""
        now = time.monotonic()
        if value is None:
            self._last = self.pace = None
        elif self._last is None:
            self._last = value, now
        elif value != self._last[0]:
            self.pace = max(0.0, value - self._last[0]) / (now - self._last[1])
            self._last = value, now


def passed(facts: "RunFacts", now: datetime | None = None) -> Text:
    """The states passed with the time spent in each, and in the last one until `now`."""
    line = Text(no_wrap=False, overflow="fold")
    for change, after in pairwise(facts.history):
        line.append(f"{change.state} ", style="dim")
        line.append(f"{spent((after.at - change.at).total_seconds())} › ", style="dim")
    last = facts.history[-1]
    line.append(last.state, style=output.COLOURS.get(last.state, "bold"))
    if facts.state.is_final:
        line.append(f" after {spent((last.at - facts.history[0].at).total_seconds())}")
    elif now:
        line.append(f" {spent((now - last.at).total_seconds())}")
    return line


def spent(seconds: float) -> str:
    """A time as short as one can say it."""
    seconds = max(0.0, seconds)  # the clocks of two machines differ
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def usage(progress: dict[str, Any], cores: float | None) -> str:
    """What a command uses at this moment: cores, and of its memory."""
    said: list[str] = []
    if cores is not None:
        said.append(f"cpu {cores:.2f}")
    if (memory := progress.get("memory_bytes")) is not None:
        limit = progress.get("memory_limit_bytes")
        said.append(f"memory {output.size(memory)}" + (f" of {output.size(limit)}" if limit else ""))
    return " · ".join(said)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
