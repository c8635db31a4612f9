"""The workspace of an attempt: an overlay over the cache's layers, or a copy, for one command to change.

Its record is written last, so that a folder with one is whole, and says what the cache may not lose.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from temporal_runs.store import Store
from temporal_runs.store.history import History
from temporal_runs.store.intake import Progress
from temporal_runs.store.taking import Taking
from temporal_runs.store.trees import Node
from temporal_runs.workspaces.blobs import Copies, opened
from temporal_runs.workspaces.cache import Cache
from temporal_runs.workspaces.filling import Filling
from temporal_runs.workspaces.trash import Trash

Kind = Literal["overlay", "copy"]

RECORD, FILES, UPPER, WORK = "record.json", "files", "upper", "work"
TRASH = ".trash"


class Overlay(msgspec.Struct, frozen=True):
    """The folders an overlay is mounted of, the topmost lower one first."""

    lower: list[Path]
    upper: Path
    work: Path

    @property
    def options(self) -> str:
        """As mount(8) takes them; raises ValueError for folders whose names it cannot take.

        The marks of deletions are in the namespace `user.`, where `UpperScan` looks.
        """
        if any(set(str(path)) & set(":,\\") for path in (*self.lower, self.upper, self.work)):
            raise ValueError(f"{self.upper} has a character in it that a mount's options cannot have")
        lower = ":".join(str(path) for path in self.lower)
        return f"lowerdir={lower},upperdir={self.upper},workdir={self.work},userxattr"


class _Record(msgspec.Struct, frozen=True):
    kind: Kind
    layers: tuple[int, ...] = ()


class Workspaces:
    """The workspaces of one executor. `kind` is that of new ones; files belong to `owner`, a (uid, gid)."""

    def __init__(self, folder: Path, cache: Cache, store: Store, owner: tuple[int, int], kind: Kind) -> None:
        self._folder = folder
        self._cache = cache
        self._store = store
        self._owner = owner
        self._kind = kind
        folder.mkdir(parents=True, exist_ok=True)
        self._trash = Trash(folder / TRASH)

    def make(self, name: str, project: str, commit: str, progress: Progress) -> Path | Overlay:
        """The files of a commit, ready to be mounted; what is there already is kept as it is."""
        place = self._folder / name
        record = self._record(place)
        if record is None:
            self._trash.put(place)
            place.mkdir(mode=0o711)
            record = (self._overlay if self._kind == "overlay" else self._copy)(place, project, commit, progress)
        return place / FILES if record.kind == "copy" else self._as_overlay(place, record)

    def take(self, name: str) -> Callable[[Taking], Node]:
        """What brings the workspace's files into the store, for `Store.land`."""
        place = self._folder / name
        record = self._record(place)
        if record and record.kind == "overlay":
            return lambda taking: taking.upper(place / UPPER, self._adopt)
        return lambda taking: taking.folder(place / FILES, None)

    def discard(self, name: str) -> None:
        """Takes the workspace away; one that is not there is fine."""
        with suppress(OSError):
            # The kernel's own, which only root may look into, but anybody whose folder it is in may remove.
            (self._folder / name / WORK / "work").rmdir()
        self._trash.put(self._folder / name)

    def names(self) -> list[str]:
        """Of all workspaces there are."""
        return [path.name for path in self._folder.iterdir() if path.name != TRASH]

    def tidy(self) -> None:
        """Deletes what was discarded, and keeps the cache within its bounds; slow."""
        self._trash.empty()
        self._cache.tidy(self._layers_in_use)

    def _overlay(self, place: Path, project: str, commit: str, progress: Progress) -> _Record:
        root = self._root(project, commit)
        while True:
            with self._cache.layers.hold([root]) as layer:
                if layer:
                    for name in (UPPER, WORK):
                        (place / name).mkdir(mode=0o755)
                        os.chown(place / name, *self._owner)
                    return self._recorded(place, _Record("overlay", layer.stack))
            self._cache.show(project, commit, progress)

    def _copy(self, place: Path, project: str, commit: str, progress: Progress) -> _Record:
        (place / FILES).mkdir()
        with opened(place / FILES) as descriptor:
            filling = Filling(self._store.objects, Copies(self._cache.blobs), self._owner, progress)
            filling.whole(descriptor, self._root(project, commit))
        return self._recorded(place, _Record("copy"))

    def _root(self, project: str, commit: str) -> Node:
        return History(self._store.objects, project).load(commit).root

    def _adopt(self, folder: int, name: bytes, node: Node) -> None:
        """Makes a file that the command has changed one of the cache: the next workspace links to it."""
        with opened(name, folder) as file:
            for attribute in os.listxattr(file):
                with suppress(OSError):  # some are the kernel's own
                    os.removexattr(file, attribute)
            if self._owner != (os.getuid(), os.getgid()):
                os.fchown(file, *self._owner)
            os.fchmod(file, 0o755 if node.kind == "x" else 0o644)
        self._cache.blobs.adopt(node, folder, name)

    def _record(self, place: Path) -> _Record | None:
        try:
            return msgspec.json.decode((place / RECORD).read_bytes(), type=_Record)
        except FileNotFoundError:
            return None

    def _recorded(self, place: Path, record: _Record) -> _Record:
        draft = place / f"{RECORD}.new"
        draft.write_bytes(msgspec.json.encode(record))
        draft.replace(place / RECORD)
        return record

    def _as_overlay(self, place: Path, record: _Record) -> Overlay:
        return Overlay([self._cache.layers.path(number) for number in record.layers], place / UPPER, place / WORK)

    def _layers_in_use(self) -> set[int]:
        records = [self._record(self._folder / name) for name in self.names()]
        return {number for record in records if record for number in record.layers}
