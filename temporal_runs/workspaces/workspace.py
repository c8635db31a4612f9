"""The workspace of an attempt: an overlay over the cache's layers, or a copy, for one command to change.

Its record is written last, so that a folder with one is whole, and says what the cache may not lose.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from temporal_runs.store import Store
from temporal_runs.store.descriptors import opened
from temporal_runs.store.history import History
from temporal_runs.store.ignore import Ignore, file_in
from temporal_runs.store.index import Index
from temporal_runs.store.intake import Progress
from temporal_runs.store.local import sync
from temporal_runs.store.scan import noted
from temporal_runs.store.taking import Taking
from temporal_runs.store.trees import Node
from temporal_runs.workspaces.blobs import Copies, Owner, key_of
from temporal_runs.workspaces.cache import BOOT, Cache
from temporal_runs.workspaces.disk import Disk, is_full
from temporal_runs.workspaces.filling import Filling
from temporal_runs.workspaces.imports import Import, make_point, remove_points
from temporal_runs.workspaces.overlay import Overlay
from temporal_runs.workspaces.rights import regain
from temporal_runs.workspaces.trash import Trash

Kind = Literal["overlay", "copy"]

RECORD, INDEX, TRASH = "record.json", "index", ".trash"
IMAGE, DISK, FILES, UPPER, WORK = "disk.img", "disk", "disk/files", "disk/upper", "disk/work"


@dataclass(frozen=True)
class Workspace:
    """What there is to be mounted."""

    folder: Path
    """Where the files are, or what is changed of them."""
    overlay: Overlay | None
    """What shows the files; None where the folder itself does."""
    imports: dict[str, Path]
    """Path below the files → folder or file of this machine, to be mounted there read-only."""


class _Record(msgspec.Struct, frozen=True):
    kind: Kind
    owner: Owner
    layers: tuple[int, ...]
    disk: int | None
    imports: dict[str, tuple[int, str]]
    """Path below the files → number of a layer, and path in it."""
    points: list[str]
    """Folders that were made among the files to mount something on."""
    boot: str
    """When it was made, as the machine's start it was made after."""

    @property
    def in_use(self) -> set[int]:
        return {*self.layers, *(number for number, _ in self.imports.values())}


class NotWhole(Exception):
    """A workspace in which a command would not see all of its files, or not as they are."""


class Workspaces:
    """The workspaces of one executor. `kind` is that of new ones."""

    def __init__(self, folder: Path, cache: Cache, store: Store, kind: Kind) -> None:
        self._folder = folder
        self._cache = cache
        self._store = store
        self._kind: Kind = kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._trash = Trash(folder / TRASH)
        cache.layers.reserve(self._layers_in_use())

    def make(
        self,
        name: str,
        project: str,
        commit: str,
        owner: Owner,
        progress: Progress,
        *,
        imports: Sequence[Import] = (),
        disk: int | None = None,
    ) -> Workspace:
        """The files of a commit, with those of others, as an owner's; what is there already is kept as it is.

        `disk` is how many bytes a command can write. Raises StoreError, OSError for this machine's disk, and NotWhole.
        """
        place = self._folder / name
        record = self._record(place)
        if record is None:
            self.discard(name)
            place.mkdir()
            if disk:
                Disk(place / IMAGE, place / DISK).make(disk)
            record = self._filled(place, project, commit, owner, progress, imports, disk)
        self.require_whole(name)
        overlay = self._overlay(place, record) if record.kind == "overlay" else None
        return Workspace(
            folder=overlay.upper if overlay else place / FILES,
            overlay=overlay,
            imports={at: self._cache.layers.path(number) / path for at, (number, path) in record.imports.items()},
        )

    def take(self, name: str) -> Callable[[Taking], Node]:
        """What brings the workspace's files into the store, for `Store.land`."""

        def take(taking: Taking) -> Node:
            place = self._folder / name
            record = self._record(place)
            if record is None:
                raise FileNotFoundError(f"the workspace {place} is gone")
            changed = self._changed(place, record)
            regain(changed)
            remove_points(changed, record.points)
            if record.kind == "copy":
                return taking.folder(changed, place / INDEX)
            return taking.upper(changed, partial(self._adopt, record.owner))

        return take

    def written(self, name: str, path: str, most: int) -> bytes | None:
        """The first bytes of a file that the command has left in its working folder; None where there is none.

        In an overlay only what it has changed itself is looked at. Raises OSError.
        """
        place = self._folder / name
        record = self._record(place)
        if record is None:
            return None
        try:
            with opened(self._changed(place, record) / path) as file:
                return os.read(file, most) if stat.S_ISREG(os.fstat(file).st_mode) else None
        except OSError as error:
            # The command may have made anything there: a link that leads out of it, what stands for a deleted file.
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return None
            raise

    def require_whole(self, name: str) -> None:
        """Raises NotWhole for a workspace in which no command should begin: after the machine went down nobody knows
        what of it was on disk, and somebody may have removed the cache."""
        record = self._record(self._folder / name)
        if record is None or record.boot != BOOT.read_text() or not self._cache.layers.has(record.in_use):
            raise NotWhole("has lost the Run's files since they were brought there: its machine went down")

    def is_full(self, name: str) -> bool:
        """Whether the disk that a workspace is on has no room left."""
        return is_full(self._folder / name / DISK)

    def discard(self, name: str) -> None:
        """Takes the workspace away; one that is not there is fine."""
        place = self._folder / name
        with suppress(OSError):
            # The kernel's own, which only root may look into, but anybody whose folder it is in may remove.
            (place / WORK / "work").rmdir()
        Disk(place / IMAGE, place / DISK).unmount()
        self._trash.put(place)

    def names(self) -> list[str]:
        """Of all workspaces there are."""
        return [path.name for path in self._folder.iterdir() if path.name != TRASH]

    def tidy(self) -> None:
        """Deletes what was discarded, and keeps the cache within its bounds; slow."""
        self._trash.empty()
        self._cache.tidy(self._layers_in_use)

    def _filled(
        self,
        place: Path,
        project: str,
        commit: str,
        owner: Owner,
        progress: Progress,
        imports: Sequence[Import],
        disk: int | None,
    ) -> _Record:
        with ExitStack() as held:
            shown = {
                one.at: (
                    held.enter_context(self._cache.shown(one.project, one.commit, owner, progress, flat=True)),
                    one.path,
                )
                for one in imports
            }
            layers: tuple[int, ...] = ()
            if self._kind == "overlay":
                for name in (UPPER, WORK):
                    (place / name).mkdir(parents=True)
                    os.chown(place / name, *owner)
                layers = held.enter_context(self._cache.shown(project, commit, owner, progress)).stack
            else:
                (place / FILES).mkdir(parents=True)
                self._copy(place, project, commit, owner, progress)
            files = place / (UPPER if self._kind == "overlay" else FILES)
            points = [path for at in shown for path in make_point(files, at, owner)]
            mounted = {at: (layer.number, path) for at, (layer, path) in shown.items()}
            return self._recorded(place, _Record(self._kind, owner, layers, disk, mounted, points, BOOT.read_text()))

    def _copy(self, place: Path, project: str, commit: str, owner: Owner, progress: Progress) -> None:
        """Copies a commit's files, and notes what they are: so only those that are changed need to be read again."""
        root = History(self._store.objects, project).load(commit).root
        filling = Filling(self._store.objects, Copies(self._cache.blobs), owner, progress)
        with opened(place / FILES) as folder, Index(place / INDEX, "") as index:
            filling.whole(folder, root)
            noted(index, filling.trees, folder, root)
            index.save(Ignore.of(partial(file_in, folder)).basis(commit))

    def _adopt(self, owner: Owner, folder: int, name: bytes, node: Node) -> None:
        """Makes a file that the command has changed one of the cache: the next workspace links to it."""
        with opened(name, folder) as file:
            for attribute in os.listxattr(file):
                with suppress(OSError):  # some are the kernel's own
                    os.removexattr(file, attribute)
            if owner != (os.getuid(), os.getgid()):
                os.fchown(file, *owner)
            os.fchmod(file, 0o755 if node.kind == "x" else 0o644)
        self._cache.blobs.adopt(key_of(node, owner), folder, name)

    def _changed(self, place: Path, record: _Record) -> Path:
        """The folder that a command has changed, to be seen here."""
        if record.disk:
            Disk(place / IMAGE, place / DISK).mount()
        return place / (FILES if record.kind == "copy" else UPPER)

    def _record(self, place: Path) -> _Record | None:
        try:
            return msgspec.json.decode((place / RECORD).read_bytes(), type=_Record)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _recorded(self, place: Path, record: _Record) -> _Record:
        draft = place / f"{RECORD}.new"
        draft.write_bytes(msgspec.json.encode(record))
        # On disk before anybody has mounted what it names: after a power cut it still tells what that was.
        sync(draft)
        draft.replace(place / RECORD)
        sync(place)
        return record

    def _overlay(self, place: Path, record: _Record) -> Overlay:
        return Overlay([self._cache.layers.path(number) for number in record.layers], place / UPPER, place / WORK)

    def _layers_in_use(self) -> set[int]:
        records = [self._record(self._folder / name) for name in self.names()]
        return {number for record in records if record for number in record.in_use}
