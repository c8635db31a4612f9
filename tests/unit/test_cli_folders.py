"""Pulling into a folder: it becomes what the project holds, and loses nothing that was changed in it."""

from pathlib import Path

import pytest

from temporal_runs.cli.exits import UsageProblem
from temporal_runs.cli.folders import Link, pull
from temporal_runs.settings import Settings
from temporal_runs.store import InvalidFolder, Store


class Team:
    """Two folders of one project, as of two people: `here` pulls what `there` pushes."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home")
        self.store = Store.open(self.settings.store_url)
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        self.there.mkdir()
        self.base: str | None = None

    def push(self, **files: str | None) -> None:
        """Writes (None: deletes) files there, and pushes the folder."""
        for name, text in files.items():
            path = self.there / name
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        pushed = self.store.push("p", self.there, base=self.base, author="there", message="")
        self.base = pushed.version

    def pull(self, *, force: bool = False) -> None:
        pull(self.store, self.settings, "p", self.here, self.store.resolve("p", "latest"), force=force)

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
    with pytest.raises(UsageProblem, match=r"^a changed in .*--force"):
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
    with pytest.raises(UsageProblem):
        team.pull()
    assert team.held() == {"a": "mine", "b": "2"}


def test_a_folder_that_was_never_pulled_is_not_overwritten(team: Team):
    team.push(a="theirs", same="same")
    (team.here / "a").write_text("mine")
    (team.here / "same").write_text("same")
    with pytest.raises(UsageProblem, match=r"^a changed"):
        team.pull()
    assert team.held() == {"a": "mine", "same": "same"}


def test_links_and_executables_come_as_they_are(team: Team):
    (team.there / "run.sh").write_text("#!/bin/sh\n")
    (team.there / "run.sh").chmod(0o755)
    (team.there / "link").symlink_to("run.sh")
    team.push()
    team.pull()
    assert (team.here / "run.sh").stat().st_mode & 0o111
    assert (team.here / "link").readlink() == Path("run.sh")
    team.pull()


def test_nothing_is_written_through_a_link_that_leads_out(team: Team, tmp_path: Path):
    (team.there / "sub").mkdir()
    (team.there / "sub" / "a").write_text("1")
    team.push()
    outside = tmp_path / "outside"
    outside.mkdir()
    (team.here / "sub").symlink_to(outside)
    with pytest.raises(UsageProblem):
        team.pull()
    with pytest.raises(InvalidFolder, match=r"through a link"):
        team.pull(force=True)
    assert list(outside.iterdir()) == []


def test_the_folder_knows_its_version(team: Team):
    team.push(a="1")
    assert Link.base_of(team.settings, team.here, "p") is None
    team.pull()
    assert Link.base_of(team.settings, team.here, "p") == team.store.head("p")
    assert Link.base_of(team.settings, team.here, "another") is None
