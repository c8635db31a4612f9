"""The files of projects, for programs: what `temporal-runs files` does.

A `revision` is "latest", a branch, a commit id or the beginning of one, at least 8 characters. What goes wrong is a
`StoreError` that says what to do; `OSError` is the folder's own.
"""

import getpass
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from temporal_runs.folders import WorkingFolder, record
from temporal_runs.project import ProjectSettings
from temporal_runs.settings import Settings
from temporal_runs.steps import Attempt
from temporal_runs.store import (
    Change,
    Commit,
    Damage,
    Entry,
    InvalidFolder,
    Landed,
    Pushed,
    Store,
    Swept,
    UnknownRevision,
    Updated,
)
from temporal_runs.store.trees import Node, text_of

Progress = Callable[[int, int], None]
"""Told files and bytes done so far."""


class Files:
    """The file store in use, and this machine's folders. Thread-safe, apart from two that work in the same folder."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings.load()
        self.store = Store.open(self._settings.store_url)

    def push(
        self,
        project: str,
        folder: Path,
        *,
        message: str = "pushed",
        author: str | None = None,
        progress: Progress | None = None,
    ) -> Pushed:
        """Makes the folder's files the project's next version. What is unchanged since the last time costs a stat."""
        home, folder = self._settings.home, folder.resolve()
        path = record(home, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        pushed = self.store.push(
            project,
            folder,
            base=self.base_of(project, folder),
            author=author or login_name(),
            message=message,
            index=path.with_suffix(".index"),
            limits=self.settings(project).limits,
            progress=progress,
        )
        WorkingFolder(folder, project, pushed.version).remember(home)
        return pushed

    def base_of(self, project: str, folder: Path) -> str | None:
        """The version that the folder was last pushed as or pulled from; None when it never was, in this store."""
        known = WorkingFolder.of(self._settings.home, folder.resolve(), project)
        try:
            return self.store.commit(project, known.base).id if known else None
        except UnknownRevision:
            return None

    def pull(
        self,
        project: str,
        folder: Path,
        revision: str = "latest",
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Updated:
        """Makes the folder hold a revision. What was changed in it since the last push or pull stays.

        Raises `LocalChanges`, and does nothing, where the revision changed the same, unless `force`d.
        """
        home, folder = self._settings.home, made(folder)
        commit = self.store.resolve(project, revision)
        if any(folder.iterdir()):
            base = self.base_of(project, folder)
            updated = self.store.update(project, folder, base, commit, force=force, progress=progress)
        else:
            updated = self.store.checkout(project, commit, folder, progress=progress)
        WorkingFolder(folder, project, commit).remember(home)
        return updated

    def pull_results(
        self,
        project: str,
        folder: Path,
        run_id: str,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Updated:
        """Brings what a Run added and changed into the folder, and nothing else. Deletes nothing."""
        folder = made(folder)
        version = self.version_of_run(project, run_id)
        [base] = version.parents
        return self.store.update(project, folder, base, version.id, force=force, deletes=False, progress=progress)

    def version_of_run(self, project: str, run_id: str) -> Commit:
        """The version that a Run made, as it was before it was merged with others'."""
        branches = [name for name in self.store.branches(project) if run_id in name.split("/")]
        for commit in chain.from_iterable(self.store.log(project, revision) for revision in (*branches, "latest")):
            # A merge is of the Run's, too.
            if run_of(commit) == run_id and len(commit.parents) == 1:
                return commit
        raise UnknownRevision(
            f"project {project} has no version of Run {run_id}: it changed no file, or has not finished"
        )

    def log(self, project: str, revision: str = "latest", limit: int | None = None) -> list[Commit]:
        """A version and those before it, the newest first; see `run_of`."""
        return self.store.log(project, revision, limit)

    def diff(self, project: str, old: str, new: str = "latest") -> list[Change]:
        """Files and links that differ between two revisions, by path."""
        return self.store.diff(project, old, new)

    def ls(self, project: str, revision: str = "latest") -> Iterator[Entry]:
        """Everything in a version, each folder before what is in it."""
        return self.store.entries(project, self.store.resolve(project, revision))

    def cat(self, project: str, path: str, revision: str = "latest") -> Iterator[bytes]:
        """The content of a file, in pieces."""
        return self.store.read(project, self.store.resolve(project, revision), path)

    def restore(self, project: str, revision: str, *paths: str, author: str | None = None) -> Landed:
        """Makes a version in which everything, or each of the paths, is as it was in a revision. Folders stay as
        they are until they are pulled."""
        return self.store.restore(project, revision, paths, author=author or login_name())

    def branches(self, project: str) -> dict[str, str]:
        """The branches by name, and the commits they stand at."""
        return self.store.branches(project)

    def branch(self, project: str, name: str, revision: str = "latest") -> str:
        """Makes a branch at a revision; gives its commit."""
        return self.store.branch(project, name, revision)

    def settings(self, project: str) -> ProjectSettings:
        """What is settled for the project."""
        return ProjectSettings.load(self.store, project)

    def settle(self, project: str, settings: ProjectSettings) -> None:
        """Settles it anew."""
        settings.save(self.store, project)

    def gc(self, *, dry_run: bool = False) -> Swept:
        """Removes from the store what no version of any project refers to. Safe beside everything else."""
        return self.store.gc(dry_run=dry_run)

    def verify(self, *, repair: bool = False, progress: Progress | None = None) -> Iterator[Damage]:
        """Reads everything in the store that versions refer to; gives what is damaged.

        With `repair` contents are written again from this machine's caches and folders, where these have them.
        """
        return self.store.verify(self._copies if repair else None, progress)

    def _copies(self, project: str, path: bytes, node: Node) -> Iterator[Path]:
        name = node.hash.hex()
        yield from self._settings.home.glob(f"executors/*/cache/blobs/{name[:2]}/{name[2:]}*")
        for known in WorkingFolder.all(self._settings.home):
            if known.project == project:
                yield known.folder / text_of(path)


def run_of(commit: Commit) -> str | None:
    """The Run that made a version; None for a person's."""
    return Attempt.run_of(commit.origin) or None


def login_name() -> str:
    """Who is doing this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "anonymous"


def made(folder: Path) -> Path:
    """The folder's real path; it is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InvalidFolder(f"{folder} is not a folder. Choose another, or remove it.") from None
    return folder.resolve()
