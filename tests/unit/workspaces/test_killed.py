"""An executor that is killed, at whatever point, goes on when it starts again as if it had not been."""

from pathlib import Path

import pytest

from temporal_runs.store import Store
from temporal_runs.workspaces import Import
from tests.dying import killed_everywhere
from tests.unit.store.store_folders import build, contents
from tests.unit.workspaces.conftest import PROJECT, Executor

pytestmark = pytest.mark.timeout(300)

FILES = {
    b"a": ("file", b"1", False),
    b"d/b": ("file", b"2", True),
    b"m": ("file", b"m" * 70_000, False),
    b"link": ("link", b"a"),
}
SEEN = FILES | {b"d": ("folder",)}


def again(executor: Executor) -> Executor:
    """Its next process."""
    store = Store.open(str(executor.folder.parent / "store"))
    return Executor(store, executor.folder, executor.kind)


def test_while_it_prepares(executor: Executor, tmp_path: Path):
    first = executor.push(build(tmp_path / "first", FILES))
    for _ in killed_everywhere(lambda: again(executor).make("r1", first)):
        pass
    with again(executor).at_work("r1", first) as folder:
        assert contents(folder) == SEEN
    with again(executor).at_work("r2", first) as folder:
        assert contents(folder) == SEEN, "nothing half made is in the cache"


def test_while_it_prepares_a_workspace_with_a_disk_and_an_input(executor: Executor, tmp_path: Path):
    first = executor.push(build(tmp_path / "first", FILES))
    more = {"disk": 8 * 2**20, "imports": [Import(PROJECT, first, "d")]}
    for _ in killed_everywhere(lambda: again(executor).make("r1", first, **more)):
        pass
    anew = again(executor)
    with anew.at_work("r1", first, **more) as folder:
        assert SEEN.items() <= contents(folder).items()
        assert (folder / "imports" / PROJECT / "d").is_dir()
    [shown] = anew.make("r1", first, **more).imports.values()
    assert contents(shown) == {b"b": FILES[b"d/b"]}
    anew.workspaces.discard("r1")
    anew.workspaces.tidy()
    assert str(executor.folder) not in Path("/proc/mounts").read_text()


def test_while_it_prepares_after_a_parent(executor: Executor, tmp_path: Path):
    first = executor.push(build(tmp_path / "first", FILES))
    landed = executor.run("r1", first, lambda folder: (folder / "d" / "b").write_text("3"))
    for _ in killed_everywhere(lambda: again(executor).make("r2", landed.commit)):
        pass
    with again(executor).at_work("r2", landed.commit) as folder:
        assert contents(folder) == SEEN | {b"d/b": ("file", b"3", True)}


def test_while_it_finishes(executor: Executor, tmp_path: Path):
    first = executor.push(build(tmp_path / "first", FILES))
    with executor.at_work("r1", first) as folder:
        (folder / "d" / "b").write_text("3")
        (folder / "a").unlink()
        (folder / "new").write_bytes(b"n" * 70_000)

    def finish() -> None:
        anew = again(executor)
        anew.land("r1", first)
        anew.workspaces.discard("r1")

    for _ in killed_everywhere(finish):
        assert list(executor.store.verify()) == []
    commits = executor.store.log("p")
    assert [commit.origin for commit in commits] == ["r1", ""]
    expected = {
        **{name: one for name, one in SEEN.items() if name != b"a"},
        b"d/b": ("file", b"3", True),
        b"new": ("file", b"n" * 70_000, False),
    }
    with again(executor).at_work("r2", commits[0].id) as folder:
        assert contents(folder) == expected


def test_while_it_tidies_up(executor: Executor, tmp_path: Path):
    executor.limit = 100_000
    first = executor.push(build(tmp_path / "first", FILES))
    second = executor.push(build(tmp_path / "second", {b"n": ("file", b"n" * 90_000, False)}))
    executor.run("r1", first, lambda folder: None)
    executor.run("r2", second, lambda folder: None)

    def tidy() -> None:
        anew = again(executor)
        anew.cache._limit = 100_000
        anew.workspaces.tidy()

    for _ in killed_everywhere(tidy):
        pass
    for name, commit in (("r3", first), ("r4", second)):
        with again(executor).at_work(name, commit) as folder:
            assert contents(folder)
