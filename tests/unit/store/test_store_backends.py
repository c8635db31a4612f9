"""What a backend must do, and what is said when it cannot."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from store_folders import Desk, build

from temporal_runs.store import Store, StoreCorrupt, StoreUnavailable
from temporal_runs.store.contents import PART, SMALL
from temporal_runs.store.local import FEW, LocalObjects
from temporal_runs.store.objects import Objects
from temporal_runs.store.remote import RemoteObjects
from tests.disks import disk, remount

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may mount disks")


@pytest.fixture(params=["local", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return LocalObjects(tmp_path) if request.param == "local" else RemoteObjects("memory://")


def test_a_ref_moves_only_from_where_it_was_read(objects: Objects) -> None:
    assert objects.swap("refs/p/main", None, b"1")
    assert not objects.swap("refs/p/main", None, b"2")
    first = objects.held("refs/p/main")
    assert first is not None
    assert objects.swap("refs/p/main", first, b"2")
    assert not objects.swap("refs/p/main", first, b"3")
    assert objects.get("refs/p/main") == b"2"


def test_a_batch_that_fails_leaves_nothing_half_done(objects: Objects) -> None:
    with pytest.raises(KeyError, match="mine"), objects.batch() as batch:
        batch.add("b/aa/whole", b"x" * 100)
        raise KeyError("mine")
    assert objects.get("b/aa/whole") in (None, b"x" * 100)
    assert objects.keys("tmp") == []


def test_a_range_is_cut_at_the_end_and_none_where_there_is_no_object(objects: Objects) -> None:
    with objects.batch() as batch:
        batch.add("p/aa/x", b"0123456789")
    assert objects.get_range("p/aa/x", 2, 5) == b"234"
    assert objects.get_range("p/aa/x", 8, 20) == b"89"
    assert objects.get_range("p/aa/gone", 0, 1) is None


def test_what_gc_took_as_it_was_needed_again_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = RemoteObjects("memory://")
    objects.put("b/aa/old", b"1")
    monkeypatch.setattr("temporal_runs.store.remote.YOUNG", timedelta(0))
    with objects.batch() as batch:
        batch.add("b/aa/old", b"1")
    create = RemoteObjects.create

    def raced(self: RemoteObjects, key: str, data: bytes) -> bool:
        found = create(self, key, data)
        self.delete(key)  # by one that had looked at it before
        return found

    monkeypatch.setattr(RemoteObjects, "create", raced)
    with pytest.raises(StoreUnavailable, match=r"b/aa/old was cleared away .* Try again"), objects.batch() as batch:
        batch.add("b/aa/old", b"1")


def test_an_old_object_of_another_user_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("b/aa/old", b"1")
    objects.put("b/aa/young", b"2")
    os.utime(tmp_path / "b/aa/old", (1, 1))
    was = {name: (tmp_path / "b/aa" / name).stat().st_ino for name in ("old", "young")}

    def refused(path: Path) -> None:  # root may do everything
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch, objects.batch() as batch:
        patch.setattr(os, "utime", refused)
        for name in was:
            batch.add(f"b/aa/{name}", b"1" if name == "old" else b"2")
    is_now = {name: (tmp_path / "b/aa" / name).stat() for name in was}
    assert is_now["young"].st_ino == was["young"]
    assert is_now["old"].st_ino != was["old"]
    assert is_now["old"].st_mtime > 1


def test_an_object_that_is_young_is_never_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("b/aa/young", b"1")
    monkeypatch.setattr(Path, "rename", None)  # whoever is killed after it loses the object
    assert not objects.remove_old("b/aa/young", datetime.now(UTC) - timedelta(hours=24))
    assert objects.get("b/aa/young") == b"1"


def test_a_batch_of_many_is_all_there(objects: Objects) -> None:
    with objects.batch() as batch:
        for n in range(2 * FEW):
            batch.add(f"b/{n % 7:02}/{n}", b"%d" % n)
            batch.add(f"b/{n % 7:02}/{n}", b"%d" % n)
    assert len(objects.keys("b")) == 2 * FEW
    assert objects.folders("b") == [f"{n:02}" for n in range(7)]


@pytest.mark.parametrize("size", [3, SMALL + 1, PART + 1])
@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_object_is_named_and_never_given_out(tmp_path: Path, size: int, damage: str) -> None:
    store = Store.open(f"file://{tmp_path}/store")
    pushed = store.push(
        "p", build(tmp_path / "f", {b"a": ("file", b"x" * size, False)}), base=None, author="", message=""
    )
    objects = LocalObjects(tmp_path / "store")
    [key] = [key for key in objects.keys("p") + objects.keys("b") if b"xx" in (objects.get(key) or b"")][:1]
    path = tmp_path / "store" / key
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"x", b"y", 1))
    with pytest.raises(StoreCorrupt, match=key):
        store.checkout("p", pushed.version, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(StoreCorrupt, match=key):
        list(store.read("p", pushed.version, "a"))


@pytest.mark.parametrize("kind", ["p", "v", "refs"])
def test_damaged_trees_commits_and_refs_are_told(tmp_path: Path, kind: str) -> None:
    store = Store.open(str(tmp_path / "store"))
    folder = build(tmp_path / "f", {b"a": ("file", b"1", False)})
    pushed = store.push("p", folder, base=None, author="", message="")
    for key in LocalObjects(tmp_path / "store").keys(kind):
        (tmp_path / "store" / key).write_bytes(b"{}")
    with pytest.raises(StoreCorrupt):
        store.checkout("p", store.resolve("p", "latest"), tmp_path / "out")
    if kind == "v":
        with pytest.raises(StoreCorrupt):
            store.commit("p", pushed.version)


def test_a_store_whose_folder_is_gone_is_unavailable_not_empty(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    store.put("a", b"1")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b"2"),
        lambda: store.head("p"),
        lambda: store.list(""),
        store.projects,
    ):
        with pytest.raises(StoreUnavailable, match="It is gone: mount or restore it"):
            call()
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_a_folder_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="could not be opened"):
        Store.open(str(tmp_path / "file"))
    with pytest.raises(ValueError, match="needs a folder"):
        Store.open("")


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path / "store"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match=r"No space left on device. Its disk is full: free space"):
        store.put("a", b"1")
    assert LocalObjects(tmp_path / "store").keys("tmp") == []


def test_a_target_that_is_full_is_the_callers(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    version = desk.push({b"a": ("file", b"1", False)}).version

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        desk.checkout(version, "out")


def test_a_backend_that_ignores_conditions_is_refused(tmp_path: Path) -> None:
    # obstore's own store for folders has no compare-and-swap.
    with pytest.raises(StoreUnavailable, match=r"(?i)could not move|cannot keep"):
        RemoteObjects(f"file://{tmp_path}")


@pytest.mark.parametrize(
    "answers, said",
    [
        ([True, True], "overwrites an object that was to be created only if absent"),
        ([True, False, False], "refuses to replace an object whose ETag was given"),
        ([True, False, True, True], "replaces an object although the ETag given is stale"),
        ([False], "refuses to create a new object"),
    ],
)
def test_each_way_to_ignore_conditions_is_told(monkeypatch: pytest.MonkeyPatch, answers: list[bool], said: str) -> None:
    def swap(self: RemoteObjects, key: str, held: object, data: bytes) -> bool:
        self.put(key, data)
        return answers.pop(0)

    # No server at hand does each of these.
    monkeypatch.setattr(RemoteObjects, "swap", swap)
    with pytest.raises(StoreUnavailable, match=said):
        RemoteObjects("memory://")
    assert answers == []


def test_buckets_of_other_makers_are_opened_by_their_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreUnavailable, match="Account must be specified"):
        Store.open("az://container/prefix")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv("AZURE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    key = {"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": True}
    key |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    for url in ("az://container/prefix", "gs://bucket/prefix"):
        with pytest.raises(StoreUnavailable, match=r"could not .* http://127.0.0.1:9/.*prefix.*Check its address"):
            Store.open(url)


def test_an_unreachable_or_unknown_backend_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_REGION", "x")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="Check its address"):
        Store.open("s3://bucket/prefix")
    with pytest.raises(StoreUnavailable, match="nonsense"):
        Store.open("nonsense://x")


@needs_root
def test_a_store_whose_disk_is_full_or_read_only_says_so_and_stays_whole(tmp_path: Path) -> None:
    with disk(tmp_path, 16 * 2**20, "mkfs.ext4", "-q", "-m", "0") as folder:
        (tmp_path / "desk").mkdir()
        desk = Desk(Store.open(str(folder / "store")), tmp_path / "desk")
        first = desk.push({b"a": ("file", b"1", False)}).version
        big = build(tmp_path / "big", {b"%d" % n: ("file", os.urandom(9 * 2**20), False) for n in range(3)})
        with pytest.raises(StoreUnavailable, match=r"No space left on device. Its disk is full: free space there"):
            desk.push_folder(big, first)
        assert desk.store.objects.keys("tmp") == [], "what was begun is taken away, and the room is there again"
        assert list(desk.store.verify()) == []
        second = desk.push({b"a": ("file", b"2", False)}, first).version
        remount(folder, "ro")
        assert desk.main() == {b"a": ("file", b"2", False)}
        assert Store.open(str(folder / "store")).resolve("p", "latest") == second, "it can still be read"
        with pytest.raises(
            StoreUnavailable, match=r"Read-only file system. It is mounted read-only: mount it writable"
        ):
            desk.push({b"a": ("file", b"3", False)}, second)
        remount(folder, "rw")
        desk.push({b"a": ("file", b"3", False)}, second)
