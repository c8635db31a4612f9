"""An index spares reading what is unchanged, and never hides a change."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_folders import Desk, build, contents

from temporal_runs.store.index import RACY_NS, Index
from temporal_runs.store.intake import Intake

FILES = {b"a": ("file", b"1", False), b"d/b": ("file", b"2", False), b"d/e/c": ("file", b"3", True), b"g": ("folder",)}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    read: list[str] = []
    original = Intake._file

    def noted(self: Intake, folder: int, name: bytes, *rest: object) -> object:
        read.append(os.fsdecode(name))
        return original(self, folder, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Intake, "_file", noted)
    return read


@pytest.fixture
def old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what was just written had been left alone for a while."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 2 * RACY_NS)


@pytest.mark.usefixtures("old_enough")
def test_what_is_unchanged_is_not_read(desk: Desk, reads: list[str]) -> None:
    folder = build(desk.folder / "f", FILES)
    first = desk.push_folder(folder)
    reads.clear()
    assert desk.push_folder(folder, base=first.version).version == first.version
    assert reads == []
    (folder / "d/b").write_bytes(b"changed")
    (folder / "d/new").write_bytes(b"new")
    second = desk.push_folder(folder, base=first.version)
    assert sorted(reads) == ["b", "new"]
    assert desk.holds(second.version) == contents(folder)
    reads.clear()
    shutil.rmtree(folder / "d")
    third = desk.push_folder(folder, base=second.version)
    assert (reads, desk.holds(third.version)) == ([], contents(folder))


def test_what_was_just_written_is_read_again(desk: Desk, reads: list[str]) -> None:
    folder = build(desk.folder / "f", FILES)
    first = desk.push_folder(folder)
    reads.clear()
    desk.push_folder(folder, base=first.version)
    assert sorted(reads) == ["a", "b", "c"]


def test_what_was_written_just_before_a_long_look_is_read_again(
    desk: Desk, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(desk.folder / "f", {b"a": ("file", b"1", False)})
    now, read = time.time_ns, Intake._file
    late = [0]

    def slow(self: Intake, *rest: object) -> object:
        late[0] += 10 * RACY_NS
        return read(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Intake, "_file", slow)
    monkeypatch.setattr(time, "time_ns", lambda: now() + late[0])
    first = desk.push_folder(folder)
    reads.clear()
    desk.push_folder(folder, base=first.version)
    assert reads == ["a"]


@pytest.mark.usefixtures("old_enough")
def test_a_change_that_keeps_size_and_time_is_seen(desk: Desk) -> None:
    folder = build(desk.folder / "f", {b"a": ("file", b"same size", False)})
    first = desk.push_folder(folder)
    was = (folder / "a").stat()
    (folder / "a").write_bytes(b"SAME SIZE")
    os.utime(folder / "a", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert desk.holds(desk.push_folder(folder, base=first.version).version) == contents(folder)


@pytest.mark.usefixtures("old_enough")
@pytest.mark.parametrize("harm", ["cut", "empty", "other", "foreign version", "flipped"])
def test_an_index_that_is_no_help_is_passed_over(desk: Desk, harm: str) -> None:
    folder = build(desk.folder / "f", FILES)
    first = desk.push_folder(folder)
    [index] = desk.folder.parent.glob("index-of-*")
    data = index.read_bytes()
    match harm:
        case "cut":
            index.write_bytes(data[: len(data) // 2])
        case "empty":
            index.write_bytes(b"")
        case "other":
            index.write_bytes(b"what is this?" * 20)
        case "foreign version":
            index.write_bytes(data[:30] + b"0000" + data[34:])
        case _:
            index.write_bytes(data[:100] + b"\xff\xff\xff" + data[103:])
    (folder / "a").write_bytes(b"new")
    assert desk.holds(desk.push_folder(folder, base=first.version).version) == contents(folder)


@pytest.mark.usefixtures("old_enough")
def test_new_ignore_patterns_are_followed_at_once(desk: Desk) -> None:
    folder = build(desk.folder / "f", FILES | {b"x.log": ("file", b"", False)})
    first = desk.push_folder(folder)
    (folder / ".runignore").write_text("*.log\n")
    (folder / "y.log").write_text("")
    second = desk.push_folder(folder, base=first.version)
    assert desk.holds(second.version) == {name: c for name, c in contents(folder).items() if name != b"y.log"}
    (folder / ".runignore").unlink()
    assert desk.holds(desk.push_folder(folder, base=second.version).version) == contents(folder)


def test_what_was_skipped_is_told_each_time(desk: Desk, old_enough: None) -> None:
    folder = build(desk.folder / "f", FILES)
    os.mkfifo(folder / "d" / "queue")
    first = desk.push_folder(folder)
    assert desk.push_folder(folder, base=first.version).landed.skipped == first.landed.skipped == ["d/queue: fifo"]


PLACES = ["a", "b", "d", "d/a", "d/b", "d/e/a", "d/e", "f/a", "z"]
steps = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(["write", "remove", "touch"])), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(steps, min_size=1, max_size=5), patient=st.booleans())
def test_pushes_with_an_index_hold_what_the_folder_holds(
    desk_of: Callable[[], Desk], rounds: list[list[tuple[str, str]]], patient: bool
) -> None:
    desk = desk_of()
    folder = desk.folder / "f"
    folder.mkdir()
    base = None
    with pytest.MonkeyPatch.context() as patch:
        if patient:
            now = time.time_ns
            patch.setattr(time, "time_ns", lambda: now() + 2 * RACY_NS)
        for number, changes in enumerate(rounds):
            for place, what in changes:
                change(folder / place, what, f"{number}")
            base = desk.push_folder(folder, base=base).version
            assert desk.holds(base) == contents(folder)


def change(path: Path, what: str, text: str) -> None:
    """Does it, where that is possible."""
    if what == "write":
        if any(above.is_file() for above in path.parents) or path.is_dir():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    elif what == "touch" and path.exists():
        path.touch()
    elif path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def test_an_index_without_a_file_remembers_nothing() -> None:
    with Index(None, "basis") as index:
        assert index.at(b"") is None
        index.save("basis")
