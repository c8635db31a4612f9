"""What no version refers to is cleared away, and nothing else; what is damaged is found, and healed where it can be."""

import errno
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_folders import Desk, build

from temporal_runs.store import Store, StoreCorrupt, StoreUnavailable, Swept, sweep
from temporal_runs.store.local import LocalObjects
from temporal_runs.store.trees import Node, text_of

BIG = random.Random(1).randbytes(9 * 2**20)
MEDIUM = BIG[:100_000]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def files_of(store: Store) -> list[Path]:
    assert isinstance(store.objects, LocalObjects)
    root = store.objects.root
    return sorted(path for folder in ("p", "b", "v") for path in (root / folder).rglob("*") if path.is_file())


def age(store: Store) -> None:
    """A day and more goes by."""
    for path in files_of(store):
        os.utime(path, (time.time() - 2 * 86400,) * 2)


def abandon(desk: Desk, **more: object) -> None:
    """A push that is killed when its objects are there and its version is not."""
    monkeypatch = pytest.MonkeyPatch()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("temporal_runs.store.landing.Landing.land", killed)
    with monkeypatch.context(), pytest.raises(KeyboardInterrupt):
        desk.push({b"lost": ("file", b"lost" * 20_000, False), b"small": ("file", b"lost", False)})
    monkeypatch.undo()


def test_what_a_killed_push_left_goes_when_it_is_old(desk: Desk, store: Store):
    desk.push({b"a": ("file", b"1", False), b"m": ("file", MEDIUM, False)})
    wanted = files_of(store)
    abandon(desk)
    assert store.gc() == Swept(0, 0), "too young"
    age(store)
    left = len(files_of(store)) - len(wanted)
    found = store.gc(dry_run=True)
    assert (found.objects, len(files_of(store)) - len(wanted)) == (left, left)
    assert store.gc() == found
    assert files_of(store) == wanted
    assert store.gc() == Swept(0, 0)


def test_all_of_every_version_and_branch_stays(desk: Desk, store: Store):
    first = desk.push({b"a": ("file", b"1", False), b"big": ("file", BIG, False)}).version
    desk.push({b"a": ("file", b"2", False), b"d/m": ("file", MEDIUM, False)}, first)
    desk.checkout(first, "run")
    build(desk.folder / "run", {b"made": ("file", b"made", True)})
    branch = desk.land("run", ref="runs/r1").commit
    age(store)
    assert store.gc() == Swept(0, 0)
    for commit in (first, branch, store.resolve("p", "latest")):
        assert desk.holds(commit)
    assert list(store.verify()) == []


def test_what_is_needed_again_while_it_is_looked_at_stays(desk: Desk, store: Store, monkeypatch: pytest.MonkeyPatch):
    desk.push({b"a": ("file", b"1", False)})
    abandon(desk)
    age(store)
    swept = LocalObjects.remove_old
    pushed: list[str] = []

    def racing(self: LocalObjects, key: str, before: datetime) -> bool:
        if not pushed:
            pushed.append(desk.push({b"again": ("file", b"lost" * 20_000, False)}).version)
        return swept(self, key, before)

    monkeypatch.setattr(LocalObjects, "remove_old", racing)
    store.gc()
    assert desk.holds(pushed[0])[b"again"] == ("file", b"lost" * 20_000, False)
    assert list(store.verify()) == []


def test_a_first_push_on_its_way_is_not_taken_for_litter(desk: Desk, store: Store):
    abandon(desk)
    for path in files_of(store):
        if path.parts[-4] != "v":
            os.utime(path, (time.time() - 2 * 86400,) * 2)
    assert store.gc() == Swept(0, 0), "its version is young"


def test_nothing_is_removed_from_a_store_that_lacks_something(desk: Desk, store: Store):
    desk.push({b"a": ("file", b"1", False), b"d/b": ("file", b"2", False)})
    abandon(desk)
    age(store)
    commit = next(path for path in files_of(store) if store.resolve("p", "latest") in path.name)
    commit.unlink()
    before = files_of(store)
    with pytest.raises(StoreCorrupt):
        store.gc()
    assert files_of(store) == before


@pytest.mark.parametrize("folder", ["refs/p", "v/p", "p"])
def test_nothing_is_removed_while_a_part_of_the_store_cannot_be_listed(
    desk: Desk, store: Store, monkeypatch: pytest.MonkeyPatch, folder: str
):
    desk.push({b"a": ("file", b"1", False)})
    age(store)
    before, scandir = files_of(store), os.scandir

    def failing(path: Path | str = ".") -> object:
        # A sector that cannot be read: no other way to have one.
        if str(path).endswith(f"store/{folder}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scandir(path)

    with monkeypatch.context() as patch, pytest.raises(StoreUnavailable, match="Input/output error"):
        patch.setattr(os, "scandir", failing)
        store.gc()
    assert files_of(store) == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["push", "run", "branch", "abandon", "age", "gc"]),
            st.dictionaries(
                st.sampled_from([b"a", b"d/b", b"d/e/c", b"m"]),
                st.sampled_from([b"1", b"2", MEDIUM, MEDIUM[1:]]).map(lambda data: ("file", data, False)),
                min_size=1,
            ),
        ),
        max_size=10,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_gc_keeps_every_version(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, dict]]
):
    folder = tmp_path_factory.mktemp("upkeep")
    store = Store.open(str(folder / "store"))
    (folder / "desk").mkdir()
    desk = Desk(store, folder / "desk")
    base = desk.push({b"a": ("file", b"0", False)}).version
    for number, (what, files) in enumerate(steps):
        match what:
            case "push":
                base = desk.push(files, base).version
            case "run" | "branch":
                desk.checkout(base, f"run{number}")
                build(desk.folder / f"run{number}", files)
                desk.land(f"run{number}", ref="main" if what == "run" else f"runs/{number}")
            case "abandon":
                abandon(desk)
            case "age":
                age(store)
            case _:
                store.gc()
    age(store)
    before = {commit: desk.holds(commit) for commit in {c.id for c in store.log("p")}}
    store.gc()
    assert store.gc() == Swept(0, 0)
    assert {commit: desk.holds(commit) for commit in before} == before
    assert list(store.verify()) == []


def test_a_remote_store_is_swept_as_well(desk_of: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch):
    desk = desk_of()
    desk.push({b"a": ("file", b"1", False)})
    abandon(desk)
    count = len(desk.store.objects.keys("p")) + len(desk.store.objects.keys("b"))
    assert desk.store.gc() == Swept(0, 0)
    monkeypatch.setattr(sweep, "GRACE", timedelta(0))
    later = datetime.now(UTC) + timedelta(seconds=2)
    monkeypatch.setattr(sweep, "datetime", type("Later", (), {"now": staticmethod(lambda zone: later)}))
    assert desk.store.gc().objects > 0
    assert len(desk.store.objects.keys("p")) + len(desk.store.objects.keys("b")) < count
    assert desk.main() == {b"a": ("file", b"1", False)}


def filled(desk: Desk) -> Path:
    folder = build(
        desk.folder / "origin",
        {
            b"a": ("file", b"ONE", False),
            b"same": ("file", b"ONE", False),
            b"d/b": ("file", b"two", True),
            b"d/link": ("link", "b"),
            b"big": ("file", BIG, False),
            b"m": ("file", MEDIUM, False),
            b"\xff\n": ("file", b"odd", False),
            b"none": ("file", b"", False),
        },
    )
    desk.push_folder(folder)
    return folder


def from_folder(folder: Path) -> Callable[[str, bytes, Node], list[Path]]:
    return lambda project, path, node: [folder / "gone", folder / text_of(path)]


@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_every_object_that_is_damaged_is_found_and_healed_from_a_folder(desk: Desk, store: Store, harm: str):
    folder = filled(desk)
    whole = desk.main()
    for path in files_of(store):
        was = path.read_bytes()
        match harm:
            case "cut":
                path.write_bytes(was[: len(was) // 2])
            case "flip":
                path.write_bytes(bytes([was[0] ^ 1]) + was[1:])
            case _:
                path.unlink()
        found = list(store.verify())
        assert found, path
        assert not any(damage.healed for damage in found)
        healed = list(store.verify(from_folder(folder)))
        if path.parts[-3] == "b" or b"ONE" in was:
            assert [damage for damage in healed if not damage.healed] == []
            assert list(store.verify()) == []
            assert desk.main() == whole
        else:
            assert not any(damage.healed for damage in healed), "commits and trees have no copy"
            path.write_bytes(was)
    assert list(store.verify()) == []


def test_a_copy_that_is_not_what_it_was_heals_nothing(desk: Desk, store: Store):
    folder = filled(desk)
    (folder / "m").write_bytes(MEDIUM[1:] + b"x")
    blob = next(path for path in files_of(store) if path.stat().st_size == len(MEDIUM))
    blob.unlink()
    [damage] = store.verify(from_folder(folder))
    assert (damage.path, damage.healed) == ("m", False)
    assert "is missing" in damage.problem


def test_a_ref_that_makes_no_sense_is_reported_and_the_rest_is_looked_at(desk: Desk, store: Store):
    version = desk.push({b"a": ("file", b"1", False)}).version
    store.branch("p", "other", version)
    store.objects.put("refs/p/main", b"nonsense")
    [damage] = store.verify()
    assert "refs/p/main" in damage.problem
