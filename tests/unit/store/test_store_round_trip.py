"""What is pushed comes back: names, bits, links, empty folders, times, and nothing else."""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_folders import Content, Desk, build, contents, mtimes

from temporal_runs.store import Index, InvalidFolder, Store, StoreCorrupt, StoreError, UnknownRevision
from temporal_runs.store.history import History
from temporal_runs.store.index import Stamp
from temporal_runs.store.model import Changes, Landed
from temporal_runs.store.objects import CHUNK, digest
from temporal_runs.store.trees import Node, bytes_of, content_hash, tree_key

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


def test_a_file_bigger_than_memory_chunks_comes_back(desk: Desk) -> None:
    data = os.urandom(CHUNK + 12345)
    pushed = desk.push({b"big": ("file", data, False)})
    assert desk.store.read("p", pushed.version, "big") == data
    assert desk.holds(pushed.version)[b"big"][1] == data


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
    with pytest.raises(InvalidFolder, match="is a link"):
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


def forged(desk: Desk, rows: list[list[object]]) -> str:
    """A commit of the root tree that somebody wrote by hand."""

    objects = desk.store._objects
    data = json.dumps({"entries": rows}).encode()
    with objects.batch() as batch:
        batch.add(tree_key(digest(data)), data)
        batch.add(f"b/{digest(b'x')[:2]}/{digest(b'x')}", b"x")
    tree = {bytes_of(str(row[0])): Node(*row[1:]) for row in rows}  # type: ignore[arg-type]
    told = Landed("", Changes(0, 0, 0, 0), [], [])
    node = Node("d", content_hash(tree), 0, 0, digest(data))
    return History(objects, "p").make(node, [], author="", message="", origin="", told=told).commit.id


@pytest.mark.parametrize("name", ["..", ".", "", "../evil", "/etc/evil", "a/b", "nul\0", "x" * 256])
def test_a_tree_made_by_hand_writes_nothing_outside(desk: Desk, name: str) -> None:

    commit = forged(desk, [[name, "f", digest(b"x"), 1, 0, ""]])
    with pytest.raises(StoreCorrupt, match="which no folder can hold"):
        desk.store.checkout("p", commit, desk.folder / "out")
    assert contents(desk.folder) == {b"out": ("folder",)}


@pytest.mark.parametrize(
    "row",
    [["a", "f", "../../refs/p/main", 1, 0, ""], ["a", "z", "0" * 64, 1, 0, ""], ["a", "l", "", 0, 0, ""]],
)
def test_a_tree_entry_of_no_known_shape_is_refused(desk: Desk, row: list[object]) -> None:
    with pytest.raises(StoreCorrupt, match="no version of the store has written"):
        list(desk.store.entries("p", forged(desk, [row])))


def test_a_file_that_keeps_changing_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build(desk.folder / "f", {b"log": ("file", b"1", False)})
    read = os.pread

    def read_and_write(descriptor: int, size: int, offset: int) -> bytes:
        with (folder / "log").open("ab") as file:
            file.write(b"more")
        return read(descriptor, size, offset) if offset == 0 else b""

    monkeypatch.setattr(os, "pread", read_and_write)
    with pytest.raises(StoreError, match="log kept changing"):
        desk.push_folder(folder)


def test_an_index_spares_reading_and_sees_every_change(desk: Desk) -> None:
    files = {b"%d" % n: ("file", b"same size", False) for n in range(4)}
    folder = desk.folder / "out"
    version = desk.push(files).version
    index = desk.store.checkout("p", version, folder)
    index.save(desk.folder / "index")
    loaded = Index.load(desk.folder / "index")
    assert loaded == index
    assert loaded.unchanged(b"0", (folder / "0").stat()) is None, "too young to be told from a change"
    made = Index({**loaded.stamps, b"later": later(loaded)})
    assert made.unchanged(b"0", (folder / "0").stat()) == loaded.stamps[b"0"].hash
    times = (folder / "0").stat()
    (folder / "0").write_bytes(b"SAME SIZE")
    os.utime(folder / "0", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert made.unchanged(b"0", (folder / "0").stat()) is None


def later(index: Index) -> Stamp:

    stamp = index.stamps[b"0"]
    return replace(stamp, ctime_ns=stamp.ctime_ns + 10 * 10**9)


def test_an_index_that_cannot_be_understood_says_so(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("[1]\n")
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        Index.load(tmp_path / "index")


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
