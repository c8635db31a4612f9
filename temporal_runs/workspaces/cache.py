"""An executor's cache: blobs, and layers linked from them. Bounded in bytes; the least recently used goes first.

What is deleted is deleted by `tidy`, for which nobody waits.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path

from temporal_runs.store import Store
from temporal_runs.store.descriptors import opened
from temporal_runs.store.history import History
from temporal_runs.store.intake import Progress
from temporal_runs.store.local import sync_filesystem
from temporal_runs.workspaces.blobs import Blobs, Links, Owner
from temporal_runs.workspaces.filling import Filling
from temporal_runs.workspaces.layers import Layer, Layers, Version
from temporal_runs.workspaces.trash import Trash

ANCESTORS = 8
"""How many commits back a layer is looked for that a new one can lie on."""
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Cache:
    """Safe to share between threads; its folder is one process's at a time."""

    def __init__(self, folder: Path, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._folder = folder
        self._synced = folder / "synced"
        # Its files belong to users of the machine, who could change them under the next Run.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._trash = Trash(folder / "trash")
        self.blobs = Blobs(folder / "blobs")
        self._distrust_what_was_not_on_disk(folder / "layers")
        self.layers = Layers(folder / "layers")
        self._too_much = True
        self._making: defaultdict[tuple[bytes, Owner], threading.Lock] = defaultdict(threading.Lock)
        for stray in self.layers.strays():
            self._trash.put(stray)

    @contextmanager
    def shown(
        self, project: str, commit: str, owner: Owner, progress: Progress, *, flat: bool = False
    ) -> Generator[Layer]:
        """A layer that shows a commit with files of an owner, a `flat` one by itself; what there is not is made.

        It stays until `with` ends; whoever wants it longer has to be `in_use` by then.
        """
        root = self.layers.root_of(project, commit) or History(self._store.objects, project).load(commit).root
        version = Version(project, commit, root)
        while True:
            with self.layers.hold(root, owner, flat=flat) as layer:
                if layer:
                    yield layer
                    return
            # One at a time: two that want the same would both make it.
            with self._making[root.tree, owner], self.layers.hold(root, owner, flat=flat) as layer:
                if layer is None and flat:
                    self._make(version, owner, None, progress)
                elif layer is None:
                    self._make_over_ancestor(version, owner, progress)

    def tidy(self, in_use: Callable[[], Iterable[int]]) -> None:
        """Deletes what is too much, makes deep stacks shallow. `in_use`: layers of workspaces.

        Slow, and nothing at all where nothing has come in since the last time and there was not too much then.
        """
        for layer in self.layers.deep():
            self._make(layer.version, layer.owner, None, lambda files, size: None)
        if not (self.blobs.grown or self.layers.grown or self._too_much):
            return
        self.blobs.grown = self.layers.grown = False
        self._too_much = True
        while (surplus := self._drop_surplus()) > 0 and (oldest := self.layers.drop_oldest(in_use)):
            self._trash.put(oldest)
            self._trash.empty()
        self._trash.empty()
        self._sync()
        self._too_much = surplus > 0

    def _make_over_ancestor(self, version: Version, owner: Owner, progress: Progress) -> None:
        """Makes what differs from an ancestor's, where one of these is shown, else the whole."""
        history = History(self._store.objects, version.project)
        for record in islice(history.walk(version.commit), 1, ANCESTORS):
            with self.layers.hold(record.root, owner) as below:
                if below:
                    shallow = len(below.stack) < self.layers.deepest
                    self._make(version, owner, below if shallow else None, progress)
                    return
        self._make(version, owner, None, progress)

    def _make(self, version: Version, owner: Owner, below: Layer | None, progress: Progress) -> None:
        with self.layers.draft() as number:
            filling = Filling(self._store.objects, Links(self.blobs), owner, progress)
            with opened(self.layers.path(number)) as folder:
                if below:
                    filling.difference(folder, below.version.root, version.root)
                else:
                    filling.whole(folder, version.root)
            self.layers.add(Layer(number, version, owner, below.stack if below else ()))

    def _drop_surplus(self) -> int:
        """Deletes blobs that no layer has, the oldest first, while there is too much; gives what is still too much."""
        surplus = sum(size_of(one) for _, one in self.blobs.files()) - self._limit
        if surplus <= 0:
            return surplus
        # The ctime tells when a blob was last of use: a link, its removal, and `Blobs.copy` change it. Looked at twice,
        # since numbers take less memory than names.
        free = sorted((one.st_ctime_ns, size_of(one)) for _, one in self.blobs.files() if one.st_nlink == 1)
        newest, left = 0, surplus
        for ctime, size in free:
            if left > 0:
                newest, left = ctime, left - size
        for path, one in self.blobs.files():
            if one.st_nlink == 1 and one.st_ctime_ns <= newest:
                path.unlink(missing_ok=True)
                surplus -= size_of(one)
        return surplus

    def _sync(self) -> None:
        """Waits until everything is on disk, and notes since when: what is made meanwhile may not be."""
        draft = self._folder / "synced.new"
        draft.write_text(BOOT.read_text())
        sync_filesystem(self._folder)
        draft.replace(self._synced)

    def _distrust_what_was_not_on_disk(self, layers: Path) -> None:
        """After the machine went down, files that were not synced before may be empty or half."""
        with suppress(FileNotFoundError):
            if self._synced.read_text() == BOOT.read_text():
                return
        trusted = self._synced.stat().st_mtime_ns if self._synced.exists() else 0
        records = [(path, path.stat()) for path in layers.glob("*.json")]
        dropped = [path for path, one in chain(self.blobs.files(), records) if one.st_ctime_ns >= trusted]
        for path in dropped:
            path.unlink()
        if dropped:
            self._sync()
        else:
            self._synced.write_text(BOOT.read_text())


def size_of(found: os.stat_result) -> int:
    """Bytes that a file takes on the disk."""
    return found.st_blocks * 512
