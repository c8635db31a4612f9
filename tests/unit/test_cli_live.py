"""The live view of a Run: what it shows in 40 columns, that it never mixes with the console, and what it leaves."""

import io
import os
import pty
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from temporal_runs.cli import live
from temporal_runs.status import RunStatus, State, StateChange

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def status(*states: State, **more: Any) -> RunStatus:
    """A Run that was two seconds in each state."""
    history = [StateChange(state=state, at=BEGIN + timedelta(seconds=2 * n)) for n, state in enumerate(states)]
    return RunStatus(run_id="r1", execution_id="e1", state=states[-1], history=history, **more)


class Terminal(io.BytesIO):
    """The bytes that a terminal gets."""

    def isatty(self) -> bool:
        return True


class Screen:
    """A terminal of so many columns whose bytes are kept, the view's and the console's in the order they came."""

    def __init__(self, columns: int = 40) -> None:
        self.stream = Terminal()
        text = io.TextIOWrapper(self.stream, write_through=True)
        self.page = Console(file=text, force_terminal=True, width=columns, highlight=False, markup=False, no_color=True)

    @property
    def written(self) -> str:
        return self.stream.getvalue().decode()

    @property
    def rows(self) -> list[str]:
        """What stays on the screen, of the sequences that rich and a console's bytes use."""
        rows, row = [""], 0
        text = self.written
        while text:
            if sequence := live.CONTROL.match(text):
                code = sequence.group()
                if code.endswith("A"):
                    row -= int(code[2:-1] or 1)
                elif code.endswith("K"):
                    rows[row] = ""
                elif code == "\n":
                    row += 1
                    rows += [""] * (row + 1 - len(rows))
                elif code == "\r" and not text.startswith("\r\n"):
                    rows[row] = "" if text[1:2] not in ("\x1b", "") else rows[row]
                text = text[sequence.end() :]
            else:
                rows[row] += text[0]
                text = text[1:]
        return [line for line in rows if line]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def test_the_view_leaves_the_states_with_their_times(screen: Screen):
    with live.LiveView(screen.page, screen.stream) as view:
        view.show(status(State.QUEUED))
        view.show(status(State.QUEUED, State.PREPARING, State.RUNNING, progress={"last_lines": ""}))
        view.show(status(State.QUEUED, State.PREPARING, State.RUNNING, State.SUCCEEDED))
    assert (
        " ".join(line.rstrip() for line in screen.rows)
        == "Queued 2.0s › Preparing 2.0s › Running 2.0s › Succeeded after 6.0s"
    )


def test_the_console_stays_above_byte_for_byte(screen: Screen):
    with live.LiveView(screen.page, screen.stream) as view:
        view.show(status(State.RUNNING, progress={"last_lines": ""}))
        view.write(b"one\ntw")
        view.write(b"o\n10 %\r20 %")
        view.write(b"\r30 %")
        view.show(status(State.RUNNING, State.FAILED))
    assert screen.rows[:2] == ["one", "two"]
    assert screen.rows[2].endswith("30 %")
    assert screen.rows[-1] == "Running 2.0s › Failed after 2.0s"


def test_a_late_answer_does_not_take_back_the_end(screen: Screen):
    with live.LiveView(screen.page, screen.stream) as view:
        view.show(status(State.RUNNING, State.FAILED))
        view.show(status(State.RUNNING))
    assert screen.rows == ["Running 2.0s › Failed after 2.0s"]


def test_a_command_that_prints_without_end_loses_nothing_to_the_view(screen: Screen):
    with live.LiveView(screen.page, screen.stream) as view:
        view.show(status(State.RUNNING))
        for number in range(10_000):
            view.write(b"line %d\n" % number)
        view.show(status(State.RUNNING, State.SUCCEEDED))
    assert screen.rows[:-1] == [f"line {number}" for number in range(10_000)]


def test_nothing_of_the_view_is_wider_than_the_terminal(screen: Screen):
    waiting = "waits " * 20
    with live.LiveView(screen.page, screen.stream) as view:
        view.write(b"x" * 100)
        view.show(status(*list(State)[:6], reason=waiting))
        view.show(status(*list(State)[:7], progress={"text": "1 of 2 layers", "current": 1, "total": 2}))
        drawn = live.CONTROL.sub("\n", screen.written)
    assert max(len(line) for line in drawn.splitlines()) == 40
    assert "1 of 2 layers" in drawn
    assert "━" in drawn


def test_a_running_command_shows_what_it_uses_now():
    pace = live.Pace()
    for seconds in (1.0, 1.0, 3.0):
        pace.read(seconds)
    assert pace.pace
    said = live.usage({"memory_bytes": 2**20, "memory_limit_bytes": 2**22}, 0.5)
    assert said == "cpu 0.50 · memory 1.0 MiB of 4.0 MiB"


@pytest.mark.parametrize(("seconds", "said"), [(-1, "0.0s"), (59.94, "59.9s"), (61, "1m01s"), (7265, "2h01m")])
def test_times_are_short(seconds: float, said: str):
    assert live.spent(seconds) == said


def test_only_a_terminal_that_moves_its_cursor_gets_the_view(monkeypatch: pytest.MonkeyPatch):
    for name in ("CI", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    _, end = pty.openpty()
    with os.fdopen(end, "w") as terminal:
        assert live.suits(Console(file=terminal))
        assert not live.suits(Console(file=io.StringIO()))
        monkeypatch.setenv("CI", "true")
        assert not live.suits(Console(file=terminal))
        monkeypatch.delenv("CI")
        monkeypatch.setenv("TERM", "dumb")
        assert not live.suits(Console(file=terminal))
