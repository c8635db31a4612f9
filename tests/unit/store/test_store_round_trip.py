"""What is pushed comes back: names, bits, links, empty folders, times, and nothing else."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_folders import Content, Desk, build, contents, forged, mtimes

from temporal_runs.store import InvalidFolder, Store, StoreCorrupt, StoreError, UnknownPath, UnknownRevision
from temporal_runs.store.contents import PART, SMALL, content_of, read_part
from temporal_runs.store.objects import digest

ODD_NAMES = [b"new\nline", b"\xff\xfe", b"x" * 255, b"Case", b"case", b"caf\xc3\xa9", b"back\\slash", b" a", b"a:b"]
RESERVED = (b".", b"..", b".git", b".runignore", b".dominoignore")
names = st.one_of(
    st.sampled_from(ODD_NAMES),
    st.binary(min_size=1, max_size=12).filter(lambda n: not {0, 0x2F} & set(n) and n not in RESERVED),
)
files = st.tuples(st.just("file"), st.binary(max_size=40), st.booleans())
links = st.tuples(st.just("link"), st.sampled_from([b"/etc/shadow", b"../../..", b"gone", b"\xff\n"]))


def flat(tree: dict[bytes, object], path: bytes = b"") -> dict[bytes, Content]:
    found: dict[bytes, Content] = {}
    for name, what in tree.items():
        if isinstance(what, dict):
            found[path + name] = ("folder",)
            found |= flat(what, path + name + b"/")
        else:
            found[path + name] = what
    return found


trees = st.recursive(
    st.dictionaries(names, st.one_of(files, links), max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(files, links, inner), max_size=4),
    max_leaves=12,
).map(flat)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=trees)
def test_any_folder_comes_back_as_it_was(desk_of: Callable[[], Desk], files: dict[bytes, Content]) -> None:
    desk = desk_of()
    pushed = desk.push(files)
    assert desk.holds(pushed.version) == files


def test_a_folder_of_odd_names_comes_back_from_a_local_store_too(desk: Desk) -> None:
    files = {name: ("file", name, False) for name in ODD_NAMES} | {b"empty": ("folder",)}
    assert desk.holds(desk.push(files).version) == files


def test_times_are_kept_by_each_commit_though_contents_are_shared(desk: Desk) -> None:
    files = {b"a": ("file", b"1", False), b"d/b": ("file", b"2", True), b"l": ("link", b"a")}
    for project, mtime_ns in (("one", 10**18 + 1), ("two", 10**18 + 2)):
        folder = build(desk.folder / project, files, mtime_ns)
        pushed = desk.store.push(project, folder, base=None, author="", message="")
        out = desk.folder / f"out-{project}"
        desk.store.checkout(project, pushed.version, out)
        assert mtimes(out) == mtimes(folder)


def test_a_touched_file_is_no_change(desk: Desk) -> None:
    folder = build(desk.folder / "f", {b"a": ("file", b"1", False)})
    first = desk.push_folder(folder)
    os.utime(folder / "a", ns=(5, 5))
    assert desk.push_folder(folder, base=first.version).version == first.version


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, PART, PART + 12345])
def test_a_file_of_any_size_comes_back(desk: Desk, size: int) -> None:
    data = os.urandom(size)
    pushed = desk.push({b"big": ("file", data, False), b"again": ("file", data, True)})
    assert b"".join(desk.store.read("p", pushed.version, "big")) == data
    held = desk.holds(pushed.version)
    assert (held[b"big"][1], held[b"again"][1]) == (data, data)


def test_of_a_big_file_that_grew_only_the_end_is_stored(desk: Desk) -> None:
    folder = build(desk.folder / "f", {b"log": ("file", os.urandom(2 * PART), False)})
    first = desk.push_folder(folder)
    before = set(desk.store._objects.keys("b"))
    with (folder / "log").open("ab") as file:
        file.write(b"more")
    second = desk.push_folder(folder, base=first.version)
    sizes = sorted(len(desk.store._objects.get(key) or b"") for key in set(desk.store._objects.keys("b")) - before)
    assert sizes == [len(b"more"), 3 * 32], "the new part, and the names of all"
    assert desk.holds(second.version)[b"log"][1] == (folder / "log").read_bytes()


def test_a_sparse_file_stays_sparse_and_costs_nothing(desk: Desk) -> None:
    folder = desk.folder / "f"
    folder.mkdir()
    with (folder / "disk").open("wb") as file:
        file.truncate(20 * 2**30)
        file.seek(10**9)
        file.write(b"in the middle")
    pushed = desk.push_folder(folder)
    assert sum(len(desk.store._objects.get(key) or b"") for key in desk.store._objects.keys("b")) < 2 * PART
    out = desk.checkout(pushed.version, "out") / "disk"
    assert (out.stat().st_size, out.stat().st_blocks * 512 < 2**20) == (20 * 2**30, True)
    with out.open("rb") as one, (folder / "disk").open("rb") as other:
        assert content_of(one.fileno()) == content_of(other.fileno())


def test_setuid_is_dropped_and_the_executable_bit_kept(desk: Desk) -> None:
    folder = build(desk.folder / "f", {b"a": ("file", b"1", True)})
    (folder / "a").chmod(0o6711)
    out = desk.checkout(desk.push_folder(folder).version, "out")
    assert (out / "a").stat().st_mode & 0o7777 == 0o755


def test_fifos_and_sockets_are_skipped_and_told(desk: Desk) -> None:
    folder = build(desk.folder / "f", {b"d/a": ("file", b"1", False)})
    os.mkfifo(folder / "d" / "queue")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        pushed = desk.push_folder(folder)
    assert pushed.landed.skipped == ["d/queue: fifo", "s: socket"]
    assert set(desk.holds(pushed.version)) == {b"d", b"d/a"}


def test_links_out_of_the_folder_stay_links_and_are_never_read(desk: Desk) -> None:
    outside = build(desk.folder / "outside", {b"secret": ("file", b"s3cret", False)})
    files = {b"shadow": ("link", b"/etc/shadow"), b"out": ("link", os.fsencode(outside))}
    pushed = desk.push(files)
    kinds = {entry.path: (entry.kind, entry.link) for entry in desk.store.entries("p", pushed.version)}
    assert kinds == {b"shadow": ("link", b"/etc/shadow"), b"out": ("link", os.fsencode(outside))}
    assert desk.holds(pushed.version) == files
    with pytest.raises(UnknownPath, match="is a link"):
        desk.store.read("p", pushed.version, "shadow")


def test_entries_tell_kind_size_and_bits(desk: Desk) -> None:
    pushed = desk.push({b"d/x": ("file", b"abc", True), b"e": ("folder",)})
    found = [(e.path, e.kind, e.size, e.executable) for e in desk.store.entries("p", pushed.version)]
    assert found == [(b"d", "folder", 0, False), (b"d/x", "file", 3, True), (b"e", "folder", 0, False)]


def test_a_checkout_needs_an_empty_folder(desk: Desk) -> None:
    version = desk.push({b"a": ("file", b"1", False)}).version
    with pytest.raises(InvalidFolder, match="not empty"):
        desk.store.checkout("p", version, desk.folder)
    (desk.folder / "file").write_text("")
    with pytest.raises(InvalidFolder, match="not a folder"):
        desk.store.checkout("p", version, desk.folder / "file")


def test_progress_counts_and_may_end_a_checkout_which_leaves_nothing(desk: Desk) -> None:
    version = desk.push({b"d/%d" % n: ("file", b"x", False) for n in range(5)}).version
    told: list[tuple[int, int]] = []

    def stop_at_three(files: int, size: int) -> None:
        told.append((files, size))
        if files == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.store.checkout("p", version, desk.folder / "out", progress=stop_at_three)
    assert told[:3] == [(1, 1), (2, 2), (3, 3)]
    assert contents(desk.folder / "out") == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_checkout_belongs_to_the_owner_asked_for(desk: Desk) -> None:
    version = desk.push({b"d/a": ("file", b"1", False), b"l": ("link", b"x")}).version
    out = desk.folder / "out"
    desk.store.checkout("p", version, out, owner=(1234, 1235))
    for path in (out, out / "d", out / "d/a", out / "l"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (1234, 1235)


@pytest.mark.parametrize("name", [b"..", b".", b"", b"../evil", b"/etc/evil", b"a/b", b"nul\0", b"x" * 256])
def test_a_tree_made_by_hand_writes_nothing_outside(desk: Desk, name: bytes) -> None:
    commit = forged(desk.store, name, "f", digest(b"x"), 1)
    with pytest.raises(StoreCorrupt, match="which no folder can hold"):
        desk.store.checkout("p", commit, desk.folder / "out")
    with pytest.raises(StoreCorrupt, match="which no folder can hold"):
        desk.store.update("p", desk.folder / "out", None, commit, force=True)
    assert contents(desk.folder) == {b"out": ("folder",)}


@pytest.mark.parametrize(
    "kind, named, size",
    [("f", b"../../refs/p/main", 1), ("l", b"", 0), ("l", b"a\0b", 3), ("f", digest(b"x"), -1), ("d", digest(b"x"), 0)],
)
def test_a_tree_entry_of_no_known_shape_is_refused(desk: Desk, kind: str, named: bytes, size: int) -> None:
    with pytest.raises(StoreCorrupt, match="no version of the store has written"):
        list(desk.store.entries("p", forged(desk.store, b"a", kind, named, size)))


def test_a_tree_that_is_none_is_refused(desk: Desk) -> None:
    with pytest.raises(StoreCorrupt, match="does not match"):
        list(desk.store.entries("p", forged(desk.store, b"a", "z", digest(b"x"), 1)))


def test_a_file_that_keeps_changing_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build(desk.folder / "f", {b"log": ("file", b"1", False)})
    read = os.read

    def read_and_write(descriptor: int, size: int) -> bytes:
        with (folder / "log").open("ab") as file:
            file.write(b"more")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_and_write)
    with pytest.raises(StoreError, match="log kept changing"):
        desk.push_folder(folder)


def test_a_file_that_changes_once_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build(desk.folder / "f", {b"log": ("file", b"1", False)})
    read = os.read
    writes = [b"more"]

    def read_and_write(descriptor: int, size: int) -> bytes:
        with (folder / "log").open("ab") as file:
            file.write(writes.pop() if writes else b"")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_and_write)
    assert desk.holds(desk.push_folder(folder).version) == {b"log": ("file", b"1more", False)}


def test_a_file_in_parts_that_changes_once_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    big = os.urandom(3 * PART)
    folder = build(desk.folder / "f", {b"log": ("file", big, False)})
    writes = [b"more"]

    def read_and_write(descriptor: int, start: int, length: int) -> bytes:
        data = read_part(descriptor, start, length)
        with (folder / "log").open("r+b") as file:
            file.write(writes.pop() if writes else b"")
        return data

    monkeypatch.setattr("temporal_runs.store.intake.read_part", read_and_write)
    assert desk.holds(desk.push_folder(folder).version) == {b"log": ("file", b"more" + big[4:], False)}


def test_a_folder_that_becomes_a_link_as_it_is_pushed_leads_nowhere(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "secrets", {b"key": ("file", b"secret" * 20_000, False)})
    folder = build(desk.folder / "f", {b"d/a": ("file", b"1", False)})
    opens = os.open

    def swap_and_open(path: object, *rest: Any, **more: Any) -> int:
        if path == b"d" and not (folder / "d").is_symlink():
            (folder / "d").rename(desk.folder / "elsewhere")
            (folder / "d").symlink_to(tmp_path / "secrets")
        return opens(path, *rest, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(InvalidFolder, match="cannot read d"):
        patch.setattr(os, "open", swap_and_open)
        desk.push_folder(folder)
    assert desk.store._objects.keys("b") == []
    assert desk.holds(desk.push_folder(folder).version) == {b"d": ("link", os.fsencode(tmp_path / "secrets"))}


def test_missing_folders_and_unknown_bases_are_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidFolder, match="No such file"):
        store.push("p", tmp_path / "gone", base=None, author="", message="")
    with pytest.raises(UnknownRevision):
        store.push("p", tmp_path, base="0" * 64, author="", message="")
    with pytest.raises(ValueError, match="no project name"):
        store.push("../p", tmp_path, base=None, author="", message="")


def test_folders_nested_too_deep_are_skipped_and_told(desk: Desk) -> None:
    folder = build(desk.folder / "f", {b"/".join([b"d"] * 300): ("folder",), b"a": ("file", b"1", False)})
    pushed = desk.push_folder(folder)
    [skipped] = pushed.landed.skipped
    assert skipped.endswith("more than 256 folders deep")
    assert max(path.count(b"/") for path in desk.holds(pushed.version)) == 254
