"""Drafts of processes that are dead are taken away, those of others are not."""

import os
import time
from pathlib import Path

import pytest

from temporal_runs.store import Store
from temporal_runs.store.drafts import draft_in
from tests.dying import killed

DAY = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def drafts(tmp_path: Path, store: Store) -> Path:
    """The folder that they are in."""
    return tmp_path / "store/tmp"


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path, drafts: Path, store: Store):
    url = str(tmp_path / "store")
    after = 0
    while not list(drafts.iterdir()):
        assert killed(lambda: Store.open(url).put("name", b"x" * 100), after), "it never left any"
        after += 1
    store.tidy()
    assert list(drafts.iterdir()) == []


def test_what_a_living_process_is_writing_stays(drafts: Path, store: Store):
    for pid in (os.getpid(), os.getppid(), 1):
        (drafts / draft_in(drafts).name.replace(f".{os.getpid()}.", f".{pid}.")).touch()
    store.tidy()
    assert len(list(drafts.iterdir())) == 3


def test_what_another_machine_is_writing_stays_for_a_day(drafts: Path, store: Store):
    (draft := drafts / f"{'0' * 16}.999999999.{'0' * 16}").touch()
    store.tidy()
    assert draft.exists()
    os.utime(draft, (time.time() - DAY - 1,) * 2)
    store.tidy()
    assert not draft.exists()
