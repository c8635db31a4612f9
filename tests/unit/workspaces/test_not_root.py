"""An executor that is not root has workspaces of both kinds too, whatever a command does to its own rights."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from temporal_runs.store import Store
from temporal_runs.workspaces import Kind
from tests.unit.store.store_folders import build
from tests.unit.workspaces.conftest import PROJECT, Executor, needs_root

pytestmark = needs_root

USER = (1234, 1235)
FILES = {b"a": ("file", b"1", False), b"d/b": ("file", b"2", True), b"gone": ("file", b"3", False)}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user reaches, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, *USER)
        yield Path(folder)


def as_user(work: Callable[[], object]) -> None:
    """Does it in a process of that user."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(*[USER[1]] * 3)
            os.setresuid(*[USER[0]] * 3)
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("kind", ["overlay", "copy"])
def test_it_makes_lands_and_discards_workspaces(place: Path, kind: Kind) -> None:
    def whole_life() -> None:
        executor = Executor(Store.open(str(place / "store")), place / "executor", kind)
        first = executor.push(build(place / "first", FILES))
        made = executor.make("r1", first, owner=USER)
        # An overlay is mounted by the engine; what a command changes is in this folder either way.
        files = made.folder
        (files / "made").write_text("made")
        (files / "made").chmod(0)
        (files / "shut").mkdir()
        (files / "shut" / "in").mkdir()
        (files / "shut" / "in" / "c").write_text("c")
        (files / "shut" / "link").symlink_to("/etc/shadow")
        (files / "shut" / "in").chmod(0o400)
        (files / "shut").chmod(0)
        if kind == "overlay":
            os.mknod(files / "gone", 0o020000, os.makedev(0, 0))
        else:
            (files / "gone").unlink()
        files.chmod(0o500)
        landed = executor.land("r1", first)
        assert (landed.changes.added, landed.changes.deleted, landed.skipped) == (3, 1, [])
        assert b"".join(executor.store.read(PROJECT, landed.commit, "shut/in/c")) == b"c"
        executor.make("r2", landed.commit, owner=USER)
        (executor.make("r3", landed.commit, owner=USER).folder / "x").mkdir(mode=0)
        for name in ("r1", "r2", "r3"):
            executor.workspaces.discard(name)
        executor.workspaces.tidy()
        assert list((executor.folder / "workspaces").iterdir()) == [executor.folder / "workspaces" / ".trash"]
        assert list((executor.folder / "workspaces" / ".trash").iterdir()) == []
        with suppress(PermissionError):
            Path("/etc/shadow").read_bytes()
            raise AssertionError("it is root after all")

    as_user(whole_life)
