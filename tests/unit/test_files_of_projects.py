"""Files of projects as programs and the command line have them: pulls lose nothing, limits hold, Runs are named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from temporal_runs.files import Files, run_of
from temporal_runs.project import ProjectSettings
from temporal_runs.settings import Settings
from temporal_runs.store import (
    InvalidFolder,
    Limits,
    LocalChanges,
    OverLimit,
    StoreError,
    UnknownPath,
    UnknownRevision,
)
from tests.dying import killed_everywhere


class Team:
    """Two folders of one project, as of two people: `here` pulls what `there` pushes."""

    def __init__(self, folder: Path) -> None:
        self.files = Files(Settings(home=folder / "home"))
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        self.there.mkdir()

    def push(self, **files: str | None) -> str:
        """Writes (None: deletes) files there, and pushes the folder."""
        for name, text in files.items():
            path = self.there / name
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        return self.files.push("p", self.there).version

    def pull(self, revision: str = "latest", *, force: bool = False) -> None:
        self.files.pull("p", self.here, revision, force=force)

    def ran(self, run_id: str, change: Callable[[Path], object]) -> None:
        """What a Run did to the project's files lands."""
        store = self.files.store
        base = store.resolve("p", "latest")
        folder = self.here.parent / f"workspace-{run_id}"
        store.checkout("p", base, folder)
        change(folder)
        store.land(
            "p",
            lambda taking: taking.folder(folder, None),
            base=base,
            origin=f"{run_id}.0123456789ab.1",
            author="ann",
            message=f"Run {run_id}",
            name=run_id,
        )

    def held(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.here.iterdir())}


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def test_a_folder_becomes_what_the_project_holds(team: Team):
    team.push(a="1", b="2")
    team.pull()
    assert team.held() == {"a": "1", "b": "2"}
    team.push(a="one", b=None, c="3")
    team.pull()
    assert team.held() == {"a": "one", "c": "3"}


def test_a_file_changed_on_both_sides_is_kept_and_named(team: Team):
    team.push(a="1", b="2")
    team.pull()
    (team.here / "a").write_text("mine")
    team.push(a="theirs", b="two")
    with pytest.raises(LocalChanges, match=r"^a changed in .*--force"):
        team.pull()
    assert team.held() == {"a": "mine", "b": "2"}, "nothing may be half pulled"
    team.pull(force=True)
    assert team.held() == {"a": "theirs", "b": "two"}


def test_what_only_was_changed_here_stays(team: Team):
    team.push(a="1", b="2")
    team.pull()
    (team.here / "a").write_text("mine")
    (team.here / "new").write_text("mine too")
    team.push(b="two")
    team.pull()
    assert team.held() == {"a": "mine", "b": "two", "new": "mine too"}


def test_a_file_deleted_there_but_changed_here_is_kept(team: Team):
    team.push(a="1", b="2")
    team.pull()
    (team.here / "a").write_text("mine")
    team.push(a=None)
    with pytest.raises(LocalChanges):
        team.pull()
    assert team.held() == {"a": "mine", "b": "2"}


def test_a_folder_that_was_never_pulled_is_not_overwritten(team: Team):
    team.push(a="theirs", same="same")
    (team.here / "a").write_text("mine")
    (team.here / "same").write_text("same")
    with pytest.raises(LocalChanges, match=r"^a changed"):
        team.pull()
    assert team.held() == {"a": "mine", "same": "same"}


def test_many_changed_files_are_counted(team: Team):
    team.push(**{f"f{n}": "1" for n in range(8)})
    for n in range(8):
        (team.here / f"f{n}").write_text("mine")
    with pytest.raises(LocalChanges, match=r"f0, f1, f2, f3, f4 and 3 more"):
        team.pull()


def test_a_folder_deleted_here_comes_back_for_what_is_new_in_it(team: Team):
    for folder in ("d", "e"):
        (team.there / folder).mkdir()
        (team.there / folder / "old").write_text("1")
    team.push(kept="1")
    team.pull()
    for folder in ("d", "e"):
        shutil.rmtree(team.here / folder)
        (team.there / folder / "old").unlink()
    (team.there / "d" / "new").write_text("2")
    team.push()
    team.pull()
    assert {str(path.relative_to(team.here)) for path in team.here.rglob("*")} == {"d", "d/new", "kept"}


def test_links_executables_big_files_and_empty_folders_come_as_they_are(team: Team):
    (team.here / "mine").write_text("")
    (team.there / "run.sh").write_text("#!/bin/sh\n")
    (team.there / "run.sh").chmod(0o755)
    (team.there / "link").symlink_to("run.sh")
    (team.there / "empty" / "deep").mkdir(parents=True)
    (team.there / "big").write_bytes(bytes(range(256)) * 65536)
    (team.there / "medium").write_bytes(bytes(range(256)) * 512)
    team.push()
    team.pull()
    assert (team.here / "run.sh").stat().st_mode & 0o111
    assert (team.here / "link").readlink() == Path("run.sh")
    assert list((team.here / "empty").iterdir()) == [team.here / "empty" / "deep"]
    assert (team.here / "big").read_bytes() == (team.there / "big").read_bytes()
    assert (team.here / "medium").read_bytes() == (team.there / "medium").read_bytes()
    assert team.files.pull("p", team.here).written == 0


def test_a_file_becomes_a_folder_and_a_folder_a_file(team: Team):
    (team.there / "b").mkdir()
    (team.there / "b" / "in").write_text("1")
    team.push(a="1")
    team.pull()
    (team.there / "b" / "in").unlink()
    (team.there / "b").rmdir()
    (team.there / "a").unlink()
    (team.there / "a").mkdir()
    (team.there / "a" / "in").write_text("2")
    team.push(b="2")
    team.pull()
    assert ((team.here / "a" / "in").read_text(), (team.here / "b").read_text()) == ("2", "2")


def test_a_folder_with_files_of_ones_own_is_not_replaced_by_a_file(team: Team):
    (team.there / "b").mkdir()
    (team.there / "b" / "in").write_text("1")
    team.push()
    team.pull()
    (team.here / "b" / "mine").write_text("mine")
    (team.there / "b" / "in").unlink()
    (team.there / "b").rmdir()
    team.push(b="2")
    with pytest.raises(InvalidFolder, match=r"b is a file of the project, and a folder here"):
        team.pull()
    assert (team.here / "b" / "mine").read_text() == "mine"


def test_nothing_is_written_through_a_link_that_leads_out(team: Team, tmp_path: Path):
    (team.there / "sub").mkdir()
    (team.there / "sub" / "a").write_text("1")
    team.push()
    outside = tmp_path / "outside"
    outside.mkdir()
    (team.here / "sub").symlink_to(outside)
    with pytest.raises(LocalChanges):
        team.pull()
    with pytest.raises(InvalidFolder, match=r"through a link"):
        team.pull(force=True)
    assert list(outside.iterdir()) == []


def test_a_first_pull_that_is_killed_leaves_no_half_file_and_the_next_one_goes_on(team: Team):
    whole = {"a": "1", "big": "b" * 9_000_000, "medium": "m" * 100_000}
    team.push(**whole)

    def pull() -> None:
        Files(Settings(home=team.here.parent / "home")).pull("p", team.here)

    left: set[str] = set()
    for _ in killed_everywhere(pull):
        left |= {path.name for path in team.here.iterdir()}
        assert {name: text for name, text in team.held().items() if name in whole}.items() <= whole.items()
    assert team.held() == whole
    (litter,) = {name for name in left - whole.keys() if "big" in name}
    (team.here / litter).write_text("half")
    team.files.push("p", team.here)
    assert {entry.path.decode() for entry in team.files.ls("p")} == whole.keys()


def test_the_folder_knows_its_version(team: Team):
    version = team.push(a="1")
    assert team.files.base_of("p", team.here) is None
    team.pull()
    assert team.files.base_of("p", team.here) == version
    assert team.files.base_of("another", team.here) is None


def test_a_folder_of_another_store_is_pushed_as_if_it_were_new(team: Team):
    team.push(a="1")
    other = Files(Settings(home=team.here.parent / "home", store=str(team.here.parent / "other")))
    assert other.push("p", team.there).landed.changes.added == 1
    assert b"".join(other.cat("p", "a")) == b"1"


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a"])
VERSION = st.dictionaries(NAMES, st.sampled_from(["1", "2", "3"]))


@given(st.lists(VERSION, min_size=1, max_size=4), VERSION)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_pulled_folders_hold_the_version_and_what_was_changed_in_them(
    tmp_path_factory: pytest.TempPathFactory, versions: list[dict[str, str]], mine: dict[str, str]
):
    team = Team(tmp_path_factory.mktemp("team"))
    for version in versions:
        replace(team.there, version)
        team.push()
        team.pull()
        assert held(team.here) == version
    replace(team.here, mine)
    replace(team.there, versions[0])
    team.push()
    base, theirs = versions[-1], versions[0]
    moved = {name for name in base.keys() | theirs.keys() if base.get(name) != theirs.get(name)}
    lost = {name for name in moved if mine.get(name) not in (base.get(name), theirs.get(name))}
    try:
        team.pull()
    except LocalChanges:
        assert lost or not mine, "only for a reason"
        assert held(team.here) == mine
    else:
        expected = mine | {name: theirs.get(name) for name in moved} if mine else theirs
        assert held(team.here) == {name: text for name, text in expected.items() if text is not None}
        assert not lost or not mine


def replace(folder: Path, files: dict[str, str]) -> None:
    import shutil

    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_results_of_a_run_are_all_that_comes_and_nothing_is_deleted(team: Team):
    team.push(a="1", b="2", c="3")
    team.ran("r1", lambda folder: ((folder / "made").write_text("r1"), (folder / "b").unlink()))
    team.push(a="one")
    team.files.pull("p", team.here, team.files.version_of_run("p", "r1").parents[0])
    updated = team.files.pull_results("p", team.here, "r1")
    assert team.held() == {"a": "1", "b": "2", "c": "3", "made": "r1"}
    assert (updated.written, updated.deleted) == (1, 0)
    (team.here / "made").write_text("mine")
    with pytest.raises(LocalChanges):
        team.files.pull_results("p", team.here, "r1")
    with pytest.raises(UnknownRevision, match=r"no version of Run r2"):
        team.files.pull_results("p", team.here, "r2")


def test_the_log_tells_which_run_made_what(team: Team):
    team.push(a="1")
    team.ran("r.1", lambda folder: (folder / "made").write_text("1"))
    assert [run_of(commit) for commit in team.files.log("p")] == ["r.1", None]


def test_a_version_is_restored_whole_or_in_part(team: Team):
    first = team.push(a="1", b="1")
    (team.there / "d").mkdir()
    (team.there / "d" / "in").write_text("1")
    second = team.push(a="2", b="2")
    team.files.restore("p", first, "a")
    team.pull()
    assert ((team.here / "a").read_text(), (team.here / "b").read_text()) == ("1", "2")
    team.files.restore("p", first)
    team.pull()
    assert held(team.here) == {"a": "1", "b": "1"}
    team.files.restore("p", second, "d/in", "b")
    team.pull()
    assert held(team.here) == {"a": "1", "b": "2", "d/in": "1"}
    before = team.files.log("p")
    assert team.files.restore("p", second, "b").changes.changed == 0
    assert team.files.log("p") == before, "nothing to do makes no version"
    with pytest.raises(UnknownPath):
        team.files.restore("p", second, "nowhere")


def test_a_branch_stands_where_it_was_made(team: Team):
    first = team.push(a="1")
    team.files.branch("p", "release/1", first)
    second = team.push(a="2")
    assert team.files.branches("p") == {"main": second, "release/1": first}
    assert b"".join(team.files.cat("p", "a", "release/1")) == b"1"
    for taken in ("release/1", "latest", "main"):
        with pytest.raises(StoreError, match="already"):
            team.files.branch("p", taken, second)
    with pytest.raises(StoreError, match="cannot name a branch"):
        team.files.branch("p", "../x")


def test_a_push_beyond_a_limit_is_refused_before_anything_is_stored(team: Team):
    team.push(a="1", b="22")
    objects = sorted(path for path in team.files.store.objects.keys("p"))
    for limit, said in (
        ({"max_files": 2}, r"3 files, .* limit is 2"),
        ({"max_file_size": 2}, r"c has 3 bytes, .* limit is 2"),
        ({"max_total": 5}, r"6 bytes, .* limit is 5"),
    ):
        team.files.settle("p", ProjectSettings().changed(**limit))
        with pytest.raises(OverLimit, match=said):
            team.push(c="333")
    assert sorted(team.files.store.objects.keys("p")) == objects
    (team.there / ".runignore").write_text("c\n.runignore\n")
    team.push()
    team.files.settle("p", ProjectSettings())
    (team.there / ".runignore").unlink()
    team.push()


def test_limits_cost_no_look_at_a_folder_in_which_nothing_changed(team: Team, monkeypatch: pytest.MonkeyPatch):
    looks: list[int] = []
    check = Limits.check
    monkeypatch.setattr(Limits, "check", lambda *arguments: looks.append(1) or check(*arguments))
    team.files.settle("p", ProjectSettings(max_files=2))
    team.push(a="1", b="22")
    team.push()
    assert len(looks) == 1
    team.push(a="2")
    assert len(looks) == 2


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError):
        ProjectSettings().changed(max_files=-1)
    with pytest.raises(ValidationError):
        ProjectSettings().changed(on_conflict="fight")


def test_what_is_damaged_is_healed_from_folders(team: Team):
    team.push(a="1", b="2")
    store = team.files.store
    pack = next(key for key in store.objects.keys("p") if b"1" in (store.objects.get(key) or b"")[:2])
    store.objects.put(pack, b"xx")
    assert {damage.path for damage in team.files.verify()} == {"a", "b"}
    assert all(damage.healed for damage in team.files.verify(repair=True))
    assert list(team.files.verify()) == []
    assert json.dumps(b"".join(team.files.cat("p", "a")).decode()) == '"1"'
