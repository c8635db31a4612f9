"""What of an engine's progress becomes lines of a phase's console."""

from pathlib import Path

import pytest

from temporal_runs.activities import phase_console
from temporal_runs.activities.phase_console import PhaseConsole
from temporal_runs.console import ConsoleReader, Gap, Printed
from temporal_runs.engine import Layer, Progress
from temporal_runs.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def pull_console(store: Store) -> PhaseConsole:
    return PhaseConsole(store, "r1", "execution", "1.pull", "begins")


def printed(store: Store) -> list[str | Gap]:
    segments = list(ConsoleReader(store, "r1", "execution", "1.pull").backwards())[::-1]
    pieces = [piece for segment in segments for piece in segment.printed()]
    return [piece.data.decode() if isinstance(piece, Printed) else piece for piece in pieces]


async def test_a_layer_has_a_line_for_each_state_and_none_for_its_bytes(store: Store):
    states = [
        *["downloading"] * 1000,
        *(f"retrying in {seconds} seconds" for seconds in (3, 2, 1)),
        "downloading",
        "retrying in 5 seconds",
        *["downloading"] * 1000,
        "download complete",
        *["extracting"] * 100,
        "pull complete",
    ]
    reported: list[Progress] = []
    async with pull_console(store) as console:
        report = console.listening(reported.append)
        for current, state in enumerate(states):
            report(Progress("1 of 1 layers", layers=(Layer("abc", state, current),)))
    assert len(reported) == len(states)
    assert printed(store) == [
        "begins\n",
        "abc: retrying in 3 seconds\n",
        "abc: retrying in 5 seconds\n",
        "abc: download complete\n",
        "abc: pull complete\n",
    ]


async def test_the_same_line_twice_is_two_lines_and_the_same_news_twice_is_one(store: Store):
    async with pull_console(store) as console:
        report = console.listening(lambda progress: None)
        report(Progress("tick"))
        report(news := Progress("tick"))
        report(news)
    assert printed(store) == ["begins\n", "tick\n", "tick\n"]


async def test_what_fails_it_is_its_last_line_and_another_attempt_goes_on_behind_it(store: Store):
    with pytest.raises(ValueError, match="no"):
        async with pull_console(store):
            raise ValueError("no")
    async with pull_console(store) as console:
        console.print("done")
    assert printed(store) == ["begins\n", "failed: no\n", "begins\n", "done\n"]


async def test_of_more_lines_than_may_wait_for_the_store_the_oldest_are_lost_and_that_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(phase_console, "MOST_WAITING", 3)
    async with pull_console(store) as console:
        console.print("\n".join("12345"))
    assert printed(store) == [Gap(None), "3\n", "4\n", "5\n"]
