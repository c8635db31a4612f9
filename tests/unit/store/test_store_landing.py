"""Results land on a ref: none is lost, none lands twice, whatever else happens there at the time."""

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_folders import Content, Desk

from temporal_runs.store import Changes, Store, UnknownProject, UnknownRevision
from temporal_runs.store.objects import Objects


def text(data: bytes) -> Content:
    return ("file", data, False)


def test_a_result_lands_as_one_commit_with_its_numbers(desk: Desk) -> None:
    base = desk.push({b"a": text(b"1"), b"b": text(b"2"), b"c": text(b"3")}).version
    work = desk.checkout(base, "r1")
    (work / "a").write_bytes(b"changed")
    (work / "b").unlink()
    (work / "new").write_bytes(b"12")
    landed = desk.land("r1")
    assert landed.changes == Changes(added=1, changed=1, deleted=1, bytes=9)
    assert desk.main() == {b"a": text(b"changed"), b"c": text(b"3"), b"new": text(b"12")}
    assert [c.id for c in desk.store.log("p")] == [landed.commit, base]
    commit = desk.store.commit("p", landed.commit)
    assert (commit.origin, commit.author, commit.parents) == ("origin-r1", "run", (base,))
    assert [(c.path, c.kind, c.size) for c in desk.store.diff("p", base, "latest")] == [
        ("a", "changed", 7),
        ("b", "deleted", 1),
        ("new", "added", 2),
    ]


def test_nothing_changed_makes_no_commit(desk: Desk) -> None:
    base = desk.push({b"a": text(b"1")}).version
    desk.checkout(base, "r1")
    assert desk.land("r1").commit == base
    assert len(desk.store.log("p")) == 1


def test_landing_again_makes_nothing_and_tells_the_same(desk: Desk) -> None:
    base = desk.push({b"a": text(b"1")}).version
    for name in ("r1", "r2"):
        (desk.checkout(base, name) / "a").write_bytes(name.encode())
    first = [desk.land(name) for name in ("r1", "r2")]
    before = desk.store.log("p")
    shutil.rmtree(desk.folder / "r2")  # a retry may come when the workspace is gone already
    assert [desk.land(name) for name in ("r1", "r2")] == first
    assert desk.store.log("p") == before


def test_what_has_landed_on_main_is_not_recovered_to_a_branch(desk: Desk) -> None:
    base = desk.push({b"a": text(b"1")}).version
    (desk.checkout(base, "r1") / "a").write_bytes(b"2")
    landed = desk.land("r1")
    assert desk.land("r1", ref="recovered/r1/1") == landed
    assert list(desk.store.branches("p")) == ["main"]


def test_landing_reads_each_version_that_others_landed_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    base = last = desk.push({b"a": text(b"1")}).version
    for n in range(20):
        last = desk.push({b"a": text(b"1"), b"theirs": text(b"%d" % n)}, last).version
    (desk.checkout(base, "r1") / "mine").write_bytes(b"1")
    read: list[str] = []
    get = type(desk.store.objects).get

    def counted(objects: Objects, key: str) -> bytes | None:
        read.append(key)
        return get(objects, key)

    monkeypatch.setattr(type(desk.store.objects), "get", counted)
    desk.land("r1")
    commits = [key for key in read if key.startswith("v/")]
    assert len(commits) == len(set(commits)) == 21


def test_both_changed_a_file_keeps_both(desk: Desk) -> None:
    base = desk.push({b"d/a": text(b"1"), b"b": text(b"1"), b"c": text(b"1")}).version
    one, two = desk.checkout(base, "r1"), desk.checkout(base, "r2")
    for name in ("d/a", "b"):
        (one / name).write_bytes(b"one")
    (one / "c").unlink()
    (two / "d/a").write_bytes(b"two")
    (two / "b").unlink()
    (two / "c").write_bytes(b"two")
    assert desk.land("r1").conflicts == []
    assert desk.land("r2").conflicts == ["b", "c", "d/a"]
    assert desk.main() == {
        b"b": text(b"one"),
        b"c": text(b"two"),
        b"d": ("folder",),
        b"d/a": text(b"one"),
        b"d/a.conflict-r2": text(b"two"),
    }


def test_the_same_change_on_both_sides_is_no_conflict(desk: Desk) -> None:
    base = desk.push({b"a": text(b"1")}).version
    for name in ("r1", "r2"):
        (desk.checkout(base, name) / "a").write_bytes(b"2")
    assert desk.land("r1").conflicts == desk.land("r2").conflicts == []
    assert desk.main() == {b"a": text(b"2")}


def test_a_conflict_beside_a_long_or_taken_name_finds_room(desk: Desk) -> None:
    long = b"x" * 255
    base = desk.push({long: text(b"1"), b"a": text(b"1"), b"a.conflict-r2": text(b"taken")}).version
    for name in ("r1", "r2"):
        work = desk.checkout(base, name)
        for file in (long, b"a"):
            (work / os.fsdecode(file)).write_bytes(name.encode())
    desk.land("r1")
    desk.land("r2")
    assert desk.main() == {
        long: text(b"r1"),
        b"x" * 243 + b".conflict-r2": text(b"r2"),
        b"a": text(b"r1"),
        b"a.conflict-r2": text(b"taken"),
        b"a.conflict-r2-2": text(b"r2"),
    }


def test_a_deleted_folder_keeps_what_the_other_side_changed_in_it(desk: Desk) -> None:
    base = desk.push({b"d/a": text(b"1"), b"d/b": text(b"1")}).version
    one, two = desk.checkout(base, "r1"), desk.checkout(base, "r2")
    (one / "d/a").write_bytes(b"2")
    shutil.rmtree(two / "d")
    desk.land("r1")
    assert desk.land("r2").conflicts == ["d/a"]
    assert desk.main() == {b"d": ("folder",), b"d/a": text(b"2")}


def test_a_ref_that_does_not_exist_is_created_and_main_untouched(desk: Desk) -> None:
    base = desk.push({b"a": text(b"1")}).version
    (desk.checkout(base, "r1") / "a").write_bytes(b"2")
    landed = desk.land("r1", ref="recovered/r1/1")
    assert desk.store.head("p", "recovered/r1/1") == landed.commit
    assert desk.store.resolve("p", "recovered/r1/1") == landed.commit
    assert desk.store.head("p") == base
    desk.checkout(base, "r2")
    assert desk.land("r2", ref="runs/r2").commit == desk.store.head("p", "runs/r2") == base


@pytest.mark.parametrize("threads, lands", [(8, 5)])
def test_racing_lands_all_land(desk: Desk, threads: int, lands: int) -> None:
    base = desk.push({b"shared": text(b"1")}).version
    names = [f"r{t}-{n}" for t in range(threads) for n in range(lands)]
    for name in names:
        work = desk.checkout(base, name)
        (work / name).write_bytes(name.encode())
        (work / "shared").write_bytes(name.encode())
    failed: list[BaseException] = []

    def work_through(mine: list[str]) -> None:
        try:
            for name in mine:
                desk.land(name)
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=work_through, args=(names[t::threads],)) for t in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    main = desk.main()
    assert {main[name.encode()] for name in names} == {text(name.encode()) for name in names}
    assert len([name for name in main if name.startswith(b"shared.conflict-")]) == len(names) - 1
    origins = [c.origin for c in desk.store.log("p") if len(c.parents) == 2]
    assert len(origins) == len(set(origins)) == len(names) - 1


PATHS = [b"a", b"b", b"d", b"d/a", b"d/b", b"d/e/a", b"d/e"]
edits = st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(["write", "delete"])), max_size=5)


def edit(folder: Path, changes: list[tuple[bytes, str]], mark: str) -> set[bytes]:
    """Writes (a content nobody else writes) or deletes, making room as a person would. What is left of it."""
    written: dict[Path, bytes] = {}
    for number, (name, what) in enumerate(changes):
        path = folder / os.fsdecode(name)
        for part in [path, *path.parents]:
            if part.is_file() and (part != path or what == "delete"):
                part.unlink()
            if part == folder:
                break
        if path.is_dir():
            shutil.rmtree(path)
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data := f"{mark}-{number}".encode())
            written[path] = data
    return {data for path, data in written.items() if path.is_file() and path.read_bytes() == data}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=edits, runs=st.lists(edits, min_size=2, max_size=3), together=st.booleans())
def test_no_order_of_landing_loses_a_change(
    desk_of: Callable[[], Desk],
    start: list[tuple[bytes, str]],
    runs: list[list[tuple[bytes, str]]],
    together: bool,
) -> None:
    orders = [list(range(len(runs)))] if together else itertools.permutations(range(len(runs)))
    for order in orders:
        desk = desk_of()
        seed = desk.folder / "seed"
        seed.mkdir()
        first = edit(seed, start, "start")
        base = desk.push_folder(seed).version
        kept: set[bytes] = set()
        untouched = set(first)
        for n in order:
            work = desk.checkout(base, f"r{n}")
            kept |= edit(work, runs[n], f"r{n}")
            untouched &= {path.read_bytes() for path in work.rglob("*") if path.is_file()}
        if together:
            threads = [threading.Thread(target=desk.land, args=(f"r{n}",)) for n in order]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            for n in order:
                desk.land(f"r{n}")
        found = {content[1] for content in desk.main().values() if content[0] == "file"}
        assert kept | untouched <= found
        assert found <= kept | first


moves = st.tuples(
    st.sampled_from(["push", "keep_both", "branch", "last_wins"]), st.integers(min_value=0, max_value=3), edits
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=edits, steps=st.lists(moves, min_size=2, max_size=4))
def test_whoever_changes_what_from_any_version_nothing_is_lost(
    desk_of: Callable[[], Desk], start: list[tuple[bytes, str]], steps: list[tuple[str, int, list[tuple[bytes, str]]]]
) -> None:
    desk = desk_of()
    seed = desk.folder / "seed"
    seed.mkdir()
    made = edit(seed, start, "start")
    versions = [desk.push_folder(seed).version]
    for n, (what, base, changes) in enumerate(steps):
        base = versions[base % len(versions)]
        work = desk.checkout(base, f"r{n}")
        mine = edit(work, changes, f"r{n}")
        made |= mine
        before = texts(desk.main())
        landed = desk.push_folder(work, base).landed if what == "push" else desk.land(f"r{n}", on_conflict=what)
        versions.append(landed.commit)
        assert mine <= texts(desk.holds(landed.commit)), "what was made is where it is said to be"
        if landed.ref != "main":
            assert (landed.ref, texts(desk.main())) == (f"runs/r{n}", before)
        elif what != "last_wins" and not landed.changes.deleted + landed.changes.changed:
            assert before <= texts(desk.main())
    refs = desk.store.branches("p").values()
    kept = {one.id for ref in refs for one in desk.store.log("p", ref)}
    assert made <= {text for commit in kept for text in texts(desk.holds(commit))}


def texts(files: dict[bytes, Content]) -> set[bytes]:
    return {content[1] for content in files.values() if content[0] == "file"}


def test_pushes_merge_by_their_base(desk: Desk) -> None:
    mine = {b"a": text(b"1"), b"b": text(b"1")}
    first = desk.push(mine)
    (desk.checkout(first.version, "r1") / "result").write_bytes(b"r")
    desk.land("r1")
    second = desk.push({b"a": text(b"2")}, base=first.version)
    assert desk.main() == {b"a": text(b"2"), b"result": text(b"r")}
    assert desk.holds(second.version) == {b"a": text(b"2")}
    again = desk.push({b"a": text(b"2")}, base=second.version)
    assert (again.version, again.landed.commit) == (second.version, second.landed.commit)


def test_a_push_without_a_base_deletes_nothing_and_wins(desk: Desk) -> None:
    desk.push({b"a": text(b"1"), b"only": text(b"main")})
    pushed = desk.push({b"a": text(b"2")})
    assert desk.main() == {b"a": text(b"2"), b"only": text(b"main")}
    assert pushed.landed.conflicts == []
    commits = len(desk.store.log("p"))
    same = desk.push({b"a": text(b"2"), b"only": text(b"main")})
    assert same.version == pushed.landed.commit
    assert len(desk.store.log("p")) == commits


def test_ignored_files_are_never_added_never_deleted(desk: Desk) -> None:
    old = {b"keep.log": text(b"0"), b"d/deep.log": text(b"0"), b"out/x": text(b"0"), b"a": text(b"0")}
    base = desk.push(old).version
    ignore = {b".runignore": text(b"*.log\nout/\n"), b".dominoignore": text(b"# no\n\nsecret*\n!secret.ok\n!\n")}
    new = desk.push({**ignore, b"new.log": text(b"1"), b"secret": text(b""), b"secret.ok": text(b"")}, base=base)
    kept = {path for path in desk.holds(new.version) if not path.startswith(b".")}
    assert kept == {b"keep.log", b"d", b"d/deep.log", b"out", b"out/x", b"secret.ok"}
    work = desk.checkout(new.landed.commit, "r1")
    (work / "keep.log").write_bytes(b"changed")
    (work / "more.log").write_bytes(b"new")
    shutil.rmtree(work / "d")
    shutil.rmtree(work / "out")
    assert desk.land("r1").commit == new.landed.commit


def test_git_folders_are_left_out_unless_asked_for(desk: Desk) -> None:
    files = {b".git/HEAD": text(b"x"), b"sub/.git": text(b"y"), b"a": text(b"1")}
    assert set(desk.holds(desk.push(files).version)) == {b"a", b"sub"}
    asked = {**files, b".runignore": text(b"!.git\n")}
    assert {b".git/HEAD", b"sub/.git"} <= set(desk.holds(desk.push(asked).version))


def test_revisions_are_found_by_name_prefix_and_id(desk: Desk) -> None:
    with pytest.raises(UnknownProject):
        desk.store.resolve("p", "latest")
    commit = desk.push({b"a": text(b"1")}).version
    assert [desk.store.resolve("p", r) for r in ("latest", "main", commit, commit[:8])] == [commit] * 4
    for unknown in ("nope", "../x", "", commit[:7], "0" * 64, "f" * 8, "a@b"):
        with pytest.raises(UnknownRevision):
            desk.store.resolve("p", unknown)
    assert desk.store.projects() == ["p"]
    assert desk.store.head("other") is None


def test_documents_are_kept_listed_and_removed(store: Store) -> None:
    for key in ("runs/1/a", "runs/1/b", "runs/10/a"):
        store.put(key, key.encode())
    store.put("runs/1/a", b"new")
    assert store.get("runs/1/a") == b"new"
    assert store.get("runs/1") is store.get("gone") is None
    assert store.list("runs/1") == store.list("runs/1/") == ["runs/1/a", "runs/1/b"]
    assert store.list("") == ["runs/1/a", "runs/1/b", "runs/10/a"]
    assert store.list("runs/1/a") == ["runs/1/a"]
    store.delete("runs/1")
    store.delete("runs/1")
    assert store.list("runs") == ["runs/10/a"]
    for bad in ("", "../x", "a//b", "/a", "a/./b", "a\n"):
        with pytest.raises(ValueError, match="no document key"):
            store.put(bad, b"")
