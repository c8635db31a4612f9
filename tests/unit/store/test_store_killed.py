"""Whoever is killed, at whatever point, leaves a store that is whole: the versions there were, and maybe one more."""

import os
import time
from pathlib import Path

import pytest
from store_folders import Desk, build, contents

from temporal_runs.store import Store
from tests.dying import killed_everywhere

pytestmark = pytest.mark.timeout(300)

BEFORE = {b"a": ("file", b"1", False), b"d/b": ("file", b"2", False), b"m": ("file", b"m" * 70_000, False)}
AFTER = {b"a": ("file", b"2", False), b"d/c": ("file", b"3", True), b"m": ("file", b"n" * 70_000, False)}
BOTH = AFTER | {b"d": ("folder",)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def again(desk: Desk) -> Desk:
    """The same desk, as another process sees it: threads are not inherited."""
    assert isinstance(desk.store, Store)
    fresh = Desk(Store.open(str(desk.folder.parent / "store")), desk.folder)
    fresh.__dict__.update({**desk.__dict__, "store": fresh.store})
    return fresh


def test_a_push(desk: Desk, store: Store):
    first = desk.push(BEFORE).version
    folder = build(desk.folder / "changed", AFTER)
    seen: set[bool] = set()
    for _ in killed_everywhere(lambda: again(desk).push_folder(folder, first)):
        assert list(store.verify()) == []
        held = desk.holds(store.resolve("p", "latest"))
        assert held[b"a"] in (BEFORE[b"a"], AFTER[b"a"])
        seen.add(held[b"a"] == AFTER[b"a"])
    assert desk.main() == BOTH
    assert False in seen
    assert len(store.log("p")) == 2, "one version, however often it was tried"


def test_what_a_run_made(desk: Desk, store: Store):
    first = desk.push(BEFORE).version
    desk.checkout(first, "run")
    desk.push({**BEFORE, b"theirs": ("file", b"theirs", False)}, first)
    build(desk.folder / "run", AFTER)
    for _ in killed_everywhere(lambda: again(desk).land("run")):
        assert list(store.verify()) == []
    merged = [commit for commit in store.log("p") if commit.origin == "origin-run"]
    assert len(merged) == 2, "a version and its merge, however often it was tried"
    assert desk.main() == BOTH | {b"d/b": BEFORE[b"d/b"], b"theirs": ("file", b"theirs", False)}


def test_a_sweep(desk: Desk, store: Store):
    first = desk.push(BEFORE).version
    assert isinstance(desk.store, Store)
    killed = killed_everywhere(lambda: again(desk).push_folder(build(desk.folder / "lost", AFTER), first))
    for after in killed:
        if after > 40:
            break
    whole = desk.main()
    for path in (desk.folder.parent / "store").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 2 * 86400,) * 2)
    for _ in killed_everywhere(lambda: again(desk).store.gc()):
        assert list(store.verify()) == []
    assert desk.main() == whole
    assert store.gc().objects == 0


def test_an_update_of_a_folder(desk: Desk, store: Store, tmp_path: Path):
    first = desk.push(BEFORE).version
    second = desk.push(AFTER, first).version
    here = desk.checkout(first, "here")
    for _ in killed_everywhere(lambda: again(desk).store.update("p", here, first, second)):
        pass
    assert contents(here) == BOTH
