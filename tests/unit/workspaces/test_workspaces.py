"""What a command sees is its commit, what it leaves is its result, and nothing it does reaches the cache."""

import errno
import os
import shutil
import stat
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_runs.store import Changes, StoreCorrupt, StoreUnavailable
from temporal_runs.store.contents import Contents
from temporal_runs.store.history import History, Record
from temporal_runs.store.intake import Intake
from temporal_runs.store.local import sync_filesystem
from temporal_runs.store.objects import digest
from temporal_runs.store.trees import Node
from temporal_runs.workspaces import Import, NotWhole
from temporal_runs.workspaces.blobs import Blobs, key_of
from temporal_runs.workspaces.cache import BOOT, Cache
from temporal_runs.workspaces.layers import DEEP, DEEPEST
from tests.unit.store.store_folders import build, contents, forged, mtimes
from tests.unit.workspaces.conftest import OWNER, PROJECT, Executor

BIG = os.urandom(9 * 2**20)
FILES = {
    b"a.txt": ("file", b"1", False),
    b"bin/tool": ("file", b"#!/bin/sh", True),
    b"d/e/f": ("file", b"deep", False),
    b"d/g": ("file", b"2", False),
    b"empty": ("folder",),
    b"none": ("file", b"", False),
    b"big": ("file", BIG, False),
    b"medium": ("file", b"m" * 100_000, False),
    b"link": ("link", b"a.txt"),
    b"out": ("link", b"/etc/shadow"),
    b"new\nline\xff": ("file", b"odd", False),
}


@pytest.fixture
def first(executor: Executor, tmp_path: Path) -> str:
    return executor.push(build(tmp_path / "first", FILES, mtime_ns=10**18 + 7))


def checked_out(executor: Executor, commit: str, folder: Path) -> Path:
    """The commit as the store gives it: what a workspace is measured by."""
    executor.store.checkout(PROJECT, commit, folder)
    return folder


def test_a_command_sees_its_commit(executor: Executor, first: str, tmp_path: Path) -> None:
    for name in ("cold", "cached"):
        with executor.at_work(name, first) as folder:
            assert contents(folder) == FILES | dict.fromkeys((b"bin", b"d", b"d/e"), ("folder",))
            assert mtimes(folder) == mtimes(checked_out(executor, first, tmp_path / f"out-{name}"))
            owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (folder, *folder.rglob("*"))}
            assert owners == {OWNER}


def test_each_user_has_files_of_its_own_from_one_cache(executor: Executor, first: str) -> None:
    another = (4321, 4322)
    landed = executor.run("r1", first, lambda folder: (folder / "made").write_text("1"))
    for name, owner in (("r2", another), ("r3", OWNER), ("r4", another)):
        with executor.at_work(name, landed.commit, owner=owner) as folder:
            assert {(path.lstat().st_uid, path.lstat().st_gid) for path in (folder, *folder.rglob("*"))} == {owner}
            assert (folder / "made").read_text() == "1"


def test_what_it_changes_lands_and_the_next_one_sees_it(executor: Executor, first: str, tmp_path: Path) -> None:
    def command(folder: Path) -> None:
        (folder / "a.txt").write_text("changed")
        (folder / "d/new").write_text("new")
        (folder / "bin/tool").chmod(0o600)
        shutil.rmtree(folder / "d/e")
        (folder / "d/e").write_text("a file now")
        (folder / "link").unlink()
        (folder / "link").mkdir()
        (folder / "link/inside").symlink_to("/nowhere")
        shutil.rmtree(folder / "empty")
        (folder / "big").open("ab").write(b"more")
        (folder / "renamed").mkdir()
        shutil.copy2(folder / "medium", folder / "renamed/medium")

    landed = executor.run("r1", first, command)
    expected = contents(checked_out(executor, first, tmp_path / "expected"))
    command(tmp_path / "expected")
    expected = contents(tmp_path / "expected")
    assert contents(checked_out(executor, landed.commit, tmp_path / "out")) == expected
    with executor.at_work("r2", landed.commit) as folder:
        assert contents(folder) == expected
        assert mtimes(folder) == mtimes(tmp_path / "out")
        assert {(path.lstat().st_uid, path.lstat().st_gid) for path in folder.rglob("*")} == {OWNER}


def test_what_is_only_touched_is_no_change(executor: Executor, first: str) -> None:
    def command(folder: Path) -> None:
        (folder / "a.txt").touch()
        (folder / "d/g").open("r+b").close()
        (folder / "medium").write_bytes((folder / "medium").read_bytes())
        (folder / "empty/x").touch()
        (folder / "empty/x").unlink()

    landed = executor.run("r1", first, command)
    assert (landed.commit, landed.changes) == (first, Changes(0, 0, 0, 0))


def test_a_folder_made_anew_holds_only_what_was_put_into_it(executor: Executor, first: str) -> None:
    def command(folder: Path) -> None:
        shutil.rmtree(folder / "d")
        (folder / "d").mkdir()
        (folder / "d/only").write_text("1")

    landed = executor.run("r1", first, command)
    assert landed.changes == Changes(added=1, changed=0, deleted=2, bytes=1)
    with executor.at_work("r2", landed.commit) as folder:
        assert [path.name for path in (folder / "d").iterdir()] == ["only"]


def test_no_command_reaches_another_workspace_or_the_cache(executor: Executor, first: str, tmp_path: Path) -> None:
    before = contents(checked_out(executor, first, tmp_path / "out"))
    with executor.at_work("r1", first) as one:
        with (one / "a.txt").open("r+b") as file:
            file.write(b"X")
        os.truncate(one / "medium", 3)
        (one / "bin/tool").chmod(0o644)
        os.chown(one / "d/g", 0, 0)
        os.utime(one / "d/e/f", (1, 1))
        os.link(one / "none", one / "second name")
        (one / "second name").write_text("no longer empty")
        with executor.at_work("r2", first) as other:
            assert contents(other) == before
    with executor.at_work("r3", first) as third:
        assert contents(third) == before


def test_what_a_store_cannot_hold_is_told_and_rights_are_dropped(executor: Executor, first: str) -> None:
    def command(folder: Path) -> None:
        os.mkfifo(folder / "d/queue")
        os.mknod(folder / "s", stat.S_IFSOCK | 0o600)
        (folder / "a.txt").chmod(0o6755)
        os.setxattr(folder / "a.txt", "user.note", b"x")

    landed = executor.run("r1", first, command)
    assert landed.skipped == ["d/queue: fifo", "s: socket"]
    with executor.at_work("r2", landed.commit) as folder:
        assert (folder / "a.txt").stat().st_mode & 0o7777 == 0o755
        assert "user.note" not in os.listxattr(folder / "a.txt")
        assert not (folder / "s").exists()


def test_ignored_files_are_neither_landed_nor_deleted(executor: Executor, tmp_path: Path) -> None:
    files = {b".runignore": ("file", b"*.log\n/cache/\n", False), b"a": ("file", b"1", False)}
    old = {b"kept.log": ("file", b"0", False), b"cache/x": ("file", b"0", False)}
    base = executor.push(build(tmp_path / "one", old))
    base = executor.push(build(tmp_path / "two", files), base)

    def command(folder: Path) -> None:
        (folder / "kept.log").write_text("changed")
        (folder / "new.log").write_text("new")
        shutil.rmtree(folder / "cache")
        (folder / "cache").mkdir()
        (folder / "cache/y").write_text("y")
        (folder / "a").write_text("2")

    landed = executor.run("r1", base, command)
    assert landed.changes == Changes(added=0, changed=1, deleted=0, bytes=1)
    assert contents(checked_out(executor, landed.commit, tmp_path / "out"))[b"kept.log"] == old[b"kept.log"]

    def forget(folder: Path) -> None:
        (folder / ".runignore").unlink()
        (folder / "new.log").write_text("new")

    assert executor.run("r2", landed.commit, forget).changes == Changes(added=1, changed=0, deleted=1, bytes=3)


@pytest.mark.parametrize("size, at", [(20 * 2**30, 10**10), (5 * 2**20, 10**6)])
def test_a_sparse_file_stays_sparse(executor: Executor, first: str, size: int, at: int) -> None:
    def command(folder: Path) -> None:
        with (folder / "disk").open("wb") as file:
            file.truncate(size)
            file.seek(at)
            file.write(b"here")

    landed = executor.run("r1", first, command)
    for _ in ("from the cache", "from the store"):
        with executor.at_work(f"r{uuid.uuid4()}", landed.commit) as folder:
            found = (folder / "disk").stat()
            assert (found.st_size, found.st_blocks * 512 < 2**20) == (size, True)
            with (folder / "disk").open("rb") as file:
                file.seek(at)
                assert file.read(4) == b"here"
        shutil.rmtree(executor.folder / "cache")
        executor.start()


def test_the_working_directory_is_as_old_as_it_is(executor: Executor, first: str) -> None:
    imported = Import(PROJECT, first)
    with executor.at_work("r1", first, imports=[imported]) as folder:
        made = executor.make("r1", first, imports=[imported])
        for one in (folder, *made.imports.values()):
            assert one.stat().st_mtime > time.time() - 3600


def test_no_other_user_of_the_machine_reaches_what_is_cached_or_worked_on(executor: Executor) -> None:
    for name in ("cache", "workspaces"):
        assert (executor.folder / name).stat().st_mode & 0o7777 == 0o700


def test_a_workspace_that_is_there_is_kept_and_half_a_one_made_anew(executor: Executor, first: str) -> None:
    with executor.at_work("r1", first) as folder:
        (folder / "mine").write_text("1")
    executor.start()
    with executor.at_work("r1", first) as folder:
        assert (folder / "mine").read_text() == "1"
    (executor.folder / "workspaces/r1/record.json").unlink()
    with executor.at_work("r1", first) as folder:
        assert not (folder / "mine").exists()


@pytest.mark.parametrize("torn", [b"", b'{"kind": "overl'])
def test_a_workspace_whose_record_is_torn_is_made_anew_and_in_nobodys_way(
    executor: Executor, first: str, torn: bytes
) -> None:
    executor.make("r1", first)
    (executor.folder / "workspaces/r1/record.json").write_bytes(torn)
    executor.start()
    executor.workspaces.tidy()
    with executor.at_work("r1", first) as folder:
        assert contents(folder)[b"a.txt"] == FILES[b"a.txt"]


def test_landing_again_makes_nothing(executor: Executor, first: str) -> None:
    with executor.at_work("r1", first) as folder:
        (folder / "a.txt").write_text("2")
    landed = executor.land("r1", first)
    assert executor.land("r1", first) == landed
    executor.workspaces.discard("r1")
    executor.workspaces.discard("r1")
    assert executor.land("r1", first) == landed
    assert executor.workspaces.names() == []


def test_after_a_power_cut_a_prepared_workspace_is_not_used_and_shows_nobody_elses_files(
    executor: Executor, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = Import(PROJECT, first, "d")
    other = executor.push(build(tmp_path / "other", {b"secret": ("file", b"another's", False)}), first)
    made = executor.make("r1", first, imports=[imported])
    reboot(executor, tmp_path, monkeypatch)
    executor.start()
    executor.make("r2", other)
    with pytest.raises(NotWhole, match="lost the Run's files"):
        executor.make("r1", first, imports=[imported])
    below = [*(made.overlay.lower if made.overlay else ()), *made.imports.values()]
    assert not any((folder / "secret").exists() for folder in below)
    with executor.at_work("r3", first, imports=[imported]) as folder:
        assert contents(folder)[b"a.txt"] == FILES[b"a.txt"]


def test_a_workspace_is_not_used_when_somebody_has_removed_the_cache(executor: Executor, first: str) -> None:
    more = [Import(PROJECT, first, "d")]
    executor.make("r1", first, imports=more)
    shutil.rmtree(executor.folder / "cache")
    executor.start()
    with pytest.raises(NotWhole):
        executor.make("r1", first, imports=more)


PLACES = ["a", "b", "d", "d/a", "d/b", "d/e/a", "d/e", "f/a"]
steps = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(["write", "remove", "replace"])), max_size=5)


def do(folder: Path, changes: list[tuple[str, str]], mark: str) -> None:
    """Writes, removes, or removes and makes again as a folder."""
    for number, (name, what) in enumerate(changes):
        path = folder / name
        if any(above.is_file() for above in path.parents if above != folder):
            continue
        if path.is_dir():
            if what == "write":
                continue
            shutil.rmtree(path)
        elif what != "write":
            path.unlink(missing_ok=True)
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{mark}-{number}")
        elif what == "replace":
            path.mkdir(parents=True)
            (path / "b").write_text(f"{mark}-{number}")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=steps, runs=st.lists(steps, min_size=1, max_size=4))
def test_any_commands_one_after_the_other_leave_what_they_would_in_a_plain_folder(
    executor_of: Callable[[], Executor], start: list[tuple[str, str]], runs: list[list[tuple[str, str]]]
) -> None:
    executor = executor_of()
    plain = executor.folder / "plain"
    plain.mkdir()
    do(plain, start, "start")
    commit = executor.push(plain)
    for number, changes in enumerate(runs):
        mark = f"run {number}"
        do(plain, changes, mark)
        commit = executor.run(f"r{number}", commit, lambda folder, c=changes, m=mark: do(folder, c, m)).commit
        with executor.at_work(f"look-{number}", commit) as folder:
            assert contents(folder) == contents(plain)


def reboot(executor: Executor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor starts on a machine that was started again: nothing but its boot id tells."""
    assert BOOT.exists()
    (folder / "boot").write_text(f"boot {uuid.uuid4()}")
    for module in ("cache", "workspace"):
        monkeypatch.setattr(f"temporal_runs.workspaces.{module}.BOOT", folder / "boot")
    executor.start()


class TestCache:
    """The cache beneath overlays."""

    @pytest.fixture
    def kind(self) -> str:
        return "overlay"

    def layers(self, executor: Executor) -> int:
        return len(executor.cache.layers._layers)

    def test_only_what_differs_from_an_ancestor_is_brought(self, executor: Executor, first: str) -> None:
        landed = executor.run("r1", first, lambda folder: (folder / "a.txt").write_text("2"))
        brought: list[tuple[int, int]] = []
        executor.workspaces.make("r2", PROJECT, landed.commit, OWNER, lambda *done: brought.append(done))
        assert brought[-1] == (1, 1)
        (layer,) = (path for path in (executor.folder / "cache/layers").iterdir() if path.name == "2")
        assert set(contents(layer)) == {b"a.txt"}

    def test_what_a_command_wrote_is_in_the_cache_without_the_store(self, executor: Executor, first: str) -> None:
        landed = executor.run("r1", first, lambda folder: (folder / "made").write_bytes(os.urandom(100_000)))
        stored = executor.store.objects
        for key in stored.keys("b"):
            stored.delete(key)
        with executor.at_work("r2", landed.commit) as folder:
            assert (folder / "made").stat().st_size == 100_000

    def test_deep_stacks_are_made_shallow(self, executor: Executor, first: str) -> None:
        commit = first
        for number in range(DEEP + 1):
            commit = executor.run(f"r{number}", commit, lambda folder, n=number: (folder / f"{n}").touch()).commit
        with executor.at_work("deep", commit) as folder:
            assert len(list(folder.glob("[0-9]*"))) == DEEP + 1
        executor.workspaces.tidy()
        assert executor.cache.layers.deep() == []
        with executor.at_work("flat", commit) as folder:
            assert len(list(folder.glob("[0-9]*"))) == DEEP + 1
        assert executor.workspaces._record(executor.folder / "workspaces/flat").layers == (DEEP + 3,)

    def test_no_stack_is_deeper_than_a_mount_takes(self, executor: Executor, first: str) -> None:
        commit = first
        for number in range(DEEPEST + 1):
            commit = executor.run(f"r{number}", commit, lambda folder, n=number: (folder / f"{n}").touch()).commit
        with executor.at_work("next", commit) as folder:
            assert len(list(folder.glob("[0-9]*"))) == DEEPEST + 1

    def test_it_keeps_within_its_bounds_but_never_loses_what_is_in_use(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        executor.cache._limit = 400_000
        commits = [
            executor.push(build(tmp_path / f"{n}", {b"f": ("file", os.urandom(150_000), False)})) for n in range(5)
        ]
        with executor.at_work("held", commits[0]) as folder:
            held = contents(folder)
            for number, commit in enumerate(commits[1:]):
                executor.run(f"r{number}", commit, lambda folder: None)
                executor.workspaces.tidy()
                assert sum(found.st_blocks * 512 for _, found in executor.cache.blobs.files()) <= 400_000
            assert contents(folder) == held
        again = executor.make("again", commits[4])
        assert again.overlay and again.overlay.lower[0].exists()

    def test_the_least_recently_used_goes_first(self, executor: Executor, tmp_path: Path) -> None:
        names = (b"one", b"two", b"three")
        folders = [build(tmp_path / f"{n!r}", {n: ("file", os.urandom(50_000), False)}) for n in names]
        push = executor.store.push
        roots = [push(PROJECT, folder, base=None, author="ann", message="").version for folder in folders]
        for name, commit in (("a", roots[0]), ("b", roots[1]), ("c", roots[0])):
            executor.make(name, commit)
            executor.workspaces.discard(name)
            record = executor.cache.layers._record(executor.cache.layers._last)
            os.utime(record, (1, 1)) if name == "b" else None
        executor.cache._limit = 120_000
        executor.make("d", roots[2])
        executor.workspaces.tidy()
        left = {path.name for path in (executor.folder / "cache/layers").glob("*/*")}
        assert left == {"one", "three"}

    def test_nothing_is_looked_at_while_nothing_comes_in(
        self, executor: Executor, first: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[int] = []
        files = Blobs.files
        monkeypatch.setattr(Blobs, "files", lambda blobs: looks.append(1) or files(blobs))

        def looked() -> bool:
            looks.clear()
            executor.workspaces.tidy()
            return bool(looks)

        assert (looked(), looked()) == (True, False)
        executor.make("r1", first)
        assert (looked(), looked()) == (True, False)
        executor.make("r2", first)
        assert not looked(), "it was all there"
        executor.cache._limit = 0
        with executor.at_work("r3", first) as folder:
            (folder / "made").write_text("1")
        executor.land("r3", first)
        assert (looked(), looked()) == (True, True), "too much is held by workspaces"
        for name in executor.workspaces.names():
            executor.workspaces.discard(name)
        assert (looked(), looked()) == (True, False)
        assert list(executor.cache.blobs.files()) == []

    def test_tidying_takes_little_memory(self, executor: Executor) -> None:
        count = 5_000
        for number in range(count):
            (executor.cache.blobs.folder / f"{number % 256:02x}" / f"{number:064x}f17.1000.1000").write_bytes(b"1")
        executor.cache._limit = 4096
        tracemalloc.start()
        executor.workspaces.tidy()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 5 * 2**19 + 200 * count
        assert len(list(executor.cache.blobs.files())) <= 1

    def test_a_file_that_has_all_the_names_it_may_have_is_copied(
        self, executor: Executor, first: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executor.run("r1", first, lambda folder: None)
        link, refused = os.link, [True]

        def full(source: object, *rest: object, **more: object) -> None:
            if refused and isinstance(source, str):
                refused.pop()
                raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
            link(source, *rest, **more)  # type: ignore[arg-type]

        executor.cache.layers.drop_oldest(lambda: ())
        monkeypatch.setattr(os, "link", full)
        with executor.at_work("r2", first) as folder:
            assert contents(folder)[b"medium"] == FILES[b"medium"]
        assert not refused

    def test_a_layer_that_was_never_finished_is_nobodys(self, executor: Executor, first: str) -> None:
        add = executor.cache.layers.add

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        executor.cache.layers.add = killed  # type: ignore[method-assign]
        rmtree = shutil.rmtree
        shutil.rmtree = lambda *_, **__: None  # type: ignore[assignment]
        try:
            with pytest.raises(KeyboardInterrupt):
                executor.make("r1", first)
        finally:
            shutil.rmtree = rmtree
            executor.cache.layers.add = add
        assert (executor.folder / "cache/layers/1").exists()
        executor.start()
        assert not (executor.folder / "cache/layers/1").exists()
        with executor.at_work("r1", first) as folder:
            assert contents(folder)[b"a.txt"] == FILES[b"a.txt"]

    def test_after_a_power_cut_only_what_was_on_disk_is_trusted(
        self, executor: Executor, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executor.run("r1", first, lambda folder: None)
        executor.workspaces.tidy()
        later = executor.push(build(tmp_path / "later", {b"later": ("file", b"1234", False)}), first)
        executor.run("r2", later, lambda folder: None)
        lost = [path for path, found in executor.cache.blobs.files() if path.read_bytes() == b"1234"]
        os.truncate(lost[0], 0)
        reboot(executor, tmp_path, monkeypatch)
        assert [path.exists() for path in lost] == [False]
        with executor.at_work("r3", later) as folder:
            assert (folder / "later").read_bytes() == b"1234"

    def test_after_a_power_cut_what_was_made_during_the_last_sync_is_not_trusted(
        self, executor: Executor, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sync(folder: Path) -> None:
            sync_filesystem(folder)
            executor.run("r1", first, lambda folder: None)

        with monkeypatch.context() as patch:
            patch.setattr("temporal_runs.workspaces.cache.sync_filesystem", sync)
            executor.workspaces.tidy()
        assert self.layers(executor) == 1
        reboot(executor, tmp_path, monkeypatch)
        assert (self.layers(executor), list(executor.cache.blobs.files())) == (0, [])

    def test_one_that_waits_for_the_store_keeps_nobody_else_waiting(
        self, executor: Executor, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        later = executor.push(build(tmp_path / "later", {b"later": ("file", b"1", False)}), first)
        executor.make("r1", first)
        asked, answered = threading.Event(), threading.Event()
        walk = History.walk

        def stalled(history: History, start: str) -> Iterator[Record]:
            for number, record in enumerate(walk(history, start)):
                if number:
                    asked.set()
                    assert answered.wait(60)
                yield record

        monkeypatch.setattr(History, "walk", stalled)
        with ThreadPoolExecutor(2) as threads:
            waiting = threads.submit(executor.make, "r2", later)
            assert asked.wait(60)
            try:
                assert threads.submit(executor.make, "r3", first).result(timeout=10)
            finally:
                answered.set()
            assert waiting.result()

    def test_two_that_want_the_same_make_it_once(self, executor: Executor, first: str) -> None:
        names = [f"r{n}" for n in range(6)]
        threads = [threading.Thread(target=executor.make, args=(name, first)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (self.layers(executor), sorted(executor.workspaces.names())) == (1, names)


class TestCopies:
    """Workspaces that are copies of what is cached."""

    @pytest.fixture
    def kind(self) -> str:
        return "copy"

    def test_what_was_copied_last_is_kept_longest(self, executor: Executor, tmp_path: Path) -> None:
        commits = [
            executor.push(build(tmp_path / f"{n}", {b"f": ("file", os.urandom(50_000), False)}, mtime_ns=n + 1))
            for n in range(3)
        ]
        for number, used in enumerate((0, 1, 2, 0)):
            executor.make(f"r{number}", commits[used])
            # Within one tick of the clock nobody could tell which was first.
            time.sleep(0.02)
        executor.cache._limit = 120_000
        executor.workspaces.tidy()
        assert sorted(found.st_mtime_ns for _, found in executor.cache.blobs.files()) == [1, 3]

    def test_only_what_a_command_changed_is_read(
        self, executor: Executor, first: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[bytes] = []
        file = Intake._file

        def noted(intake: Intake, folder: int, name: bytes, *rest: Any) -> Node:
            read.append(name)
            return file(intake, folder, name, *rest)

        monkeypatch.setattr(Intake, "_file", noted)
        read.clear()
        with executor.at_work("r1", first, imports=[Import(PROJECT, first, "d")]) as folder:
            was = (folder / "medium").stat()
            (folder / "medium").write_bytes(b"M" * was.st_size)
            os.utime(folder / "medium", ns=(was.st_atime_ns, was.st_mtime_ns))
            (folder / "d/new").write_text("1")
        assert executor.land("r1", first).changes == Changes(added=1, changed=1, deleted=0, bytes=was.st_size + 1)
        assert sorted(read) == [b"medium", b"new"]


@pytest.mark.parametrize("name", [b"..", b"../evil", b"/etc/evil", b"a/b"])
def test_a_tree_made_by_hand_writes_nothing_outside_of_a_workspace(executor: Executor, name: bytes) -> None:
    commit = forged(executor.store, name, "f", digest(b"x"), 1)
    with pytest.raises(StoreCorrupt, match="which no folder can hold"):
        executor.make("r1", commit)
    assert not [path for path in executor.folder.rglob("*") if path.name in ("evil", "b")]


def test_a_content_that_is_missing_or_damaged_is_named_unless_the_cache_has_it(executor: Executor, first: str) -> None:
    executor.run("r1", first, lambda folder: None)
    objects = executor.store.objects
    for key in objects.keys("b"):
        objects.put(key, b"damaged")
    with executor.at_work("r2", first) as folder:
        assert contents(folder)[b"big"] == FILES[b"big"]
    shutil.rmtree(executor.folder / "cache")
    executor.start()
    with pytest.raises(StoreCorrupt, match=r"object b/.. does not match|object b/"):
        executor.make("r3", first)
    assert "r3" not in [
        name
        for name in executor.workspaces.names()
        if executor.workspaces._record(executor.folder / "workspaces" / name)
    ]


def test_a_damaged_content_is_taken_from_what_the_cache_has_for_another_user(executor: Executor, first: str) -> None:
    executor.make("r1", first)
    objects = executor.store.objects
    for key in (*objects.keys("b"), *objects.keys("p")):
        data = objects.get(key) or b""
        if key.startswith("b") or b"#!/bin/sh" in data:
            objects.put(key, b"damaged")
    with executor.at_work("r2", first, owner=(4321, 4322)) as folder:
        assert contents(folder) == FILES | dict.fromkeys((b"bin", b"d", b"d/e"), ("folder",))
        assert {path.lstat().st_uid for path in folder.rglob("*")} == {4321}
    for path, _ in executor.cache.blobs.files():
        path.write_bytes(b"damaged, too")
    with pytest.raises(StoreCorrupt, match="does not match its hash"):
        executor.make("r3", first, owner=(5432, 5433))


def test_a_big_content_is_not_fetched_again_for_another_user(
    executor: Executor, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.make("r1", first)
    fetched: list[int] = []
    fetch = Contents.fetch
    monkeypatch.setattr(Contents, "fetch", lambda self, piece: fetched.append(piece.size) or fetch(self, piece))
    with executor.at_work("r2", first, owner=(4321, 4322)) as folder:
        assert (folder / "big").read_bytes() == BIG
    assert sum(fetched) < 2**20


def test_a_store_that_is_gone_is_told_unless_the_cache_has_all(executor: Executor, first: str) -> None:
    folder = Path(executor.store.objects.root)  # type: ignore[attr-defined]
    folder.rename(folder.with_name("away"))
    with pytest.raises(StoreUnavailable, match="It is gone"):
        executor.make("r1", first)
    folder.with_name("away").rename(folder)
    with executor.at_work("r1", first) as seen:
        assert contents(seen)[b"a.txt"] == FILES[b"a.txt"]
    if executor.kind == "copy":
        return
    folder.rename(folder.with_name("away"))
    for _ in range(2):
        with executor.at_work(f"r{uuid.uuid4()}", first) as seen:
            assert contents(seen)[b"a.txt"] == FILES[b"a.txt"]
        executor.start()


def test_a_blob_is_what_its_node_is_and_whose(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    folder = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "a").write_text("1")
    node = Node("f", b"\1" * 32, 1, 5)
    blobs.adopt(key_of(node, OWNER), folder, b"a")
    assert blobs.link(key_of(node, OWNER), folder, b"b")
    for other, owner in (
        (Node("x", b"\1" * 32, 1, 5), OWNER),
        (Node("f", b"\1" * 32, 1, 6), OWNER),
        (Node("f", b"\2" * 32, 1, 5), OWNER),
        (node, (OWNER[0] + 1, OWNER[1])),
    ):
        assert not blobs.link(key_of(other, owner), folder, b"c")
        assert not blobs.copy(key_of(other, owner), folder, b"c")
    os.close(folder)
    blobs.close()


def test_a_cache_is_not_made_where_nothing_can_be_written(tmp_path: Path, executor: Executor) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="File exists"):
        Cache(tmp_path / "file", executor.store, 1)
