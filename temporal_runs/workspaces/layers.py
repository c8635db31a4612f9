"""Layers: folders that hold a tree, or what turns the tree below into another one. Stacked, an overlay shows a tree.

A layer never changes. It is named by a short number, since the paths of a whole stack have to fit into the 4,095
characters of a mount's options.
"""

import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from temporal_runs.store.trees import Node
from temporal_runs.workspaces.blobs import Owner

DEEPEST = 32
"""Layers of a stack, after which the tree is made anew."""
LONGEST = 3600
"""Characters that the paths of a stack may have."""
DEEP = 16
"""Layers of a stack from which on a tree is made anew in the background."""


Shown = tuple[bytes, Owner]
"""The tree of a folder, and whose its files are."""


class Version(NamedTuple):
    """Of a project's files."""

    project: str
    commit: str
    root: Node


class Layer(msgspec.Struct, frozen=True):
    """A layer and those it lies on, the topmost first."""

    number: int
    version: Version
    """What is seen from above it."""
    owner: Owner
    """Whose the files are."""
    below: tuple[int, ...]

    @property
    def shows(self) -> Shown:
        """What whoever wants it asks for."""
        return self.version.root.tree, self.owner

    @property
    def stack(self) -> tuple[int, ...]:
        """The numbers from this layer down."""
        return (self.number, *self.below)


class Layers:
    """The layers of one executor, on its disk. Thread-safe.

    A record beside a layer's folder says what it is, and is written last: without one a folder is nobody's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.deepest = min(DEEPEST, LONGEST // len(f"{folder}/1234567:"))
        self._lock = threading.Lock()
        self._layers = {layer.number: layer for layer in recorded(folder)}
        self._showing = {self._layers[number].shows: self._layers[number] for number in sorted(self._layers)}
        self._last = max((int(path.stem) for path in folder.iterdir()), default=0)
        self._held: dict[int, int] = {}
        self.grown = False
        """whether there is a new one; for others to set back"""

    def path(self, number: int) -> Path:
        """The folder of a layer."""
        return self._folder / str(number)

    def reserve(self, numbers: Iterable[int]) -> None:
        """Never gives these to new layers: somebody may still mount by its path what had one of them."""
        self._last = max(self._last, *numbers, 0)

    def has(self, numbers: Iterable[int]) -> bool:
        """Whether all of these layers are there."""
        with self._lock:
            return self._layers.keys() >= set(numbers)

    def root_of(self, project: str, commit: str) -> Node | None:
        """The root folder of a version that was made a layer here; the store need not be asked."""
        with self._lock:
            versions = (layer.version for layer in self._layers.values())
            return next((one.root for one in versions if (one.project, one.commit) == (project, commit)), None)

    @contextmanager
    def hold(self, root: Node, owner: Owner, *, flat: bool = False) -> Generator[Layer | None]:
        """A layer that shows a folder as this owner's, if there is one; its stack stays until `with` ends.

        A `flat` one lies on nothing.
        """
        with self._lock:
            layer = self._showing.get((root.tree, owner))
            if layer and flat and layer.below:
                layer = None
            for number in layer.stack if layer else ():
                self._held[number] = self._held.get(number, 0) + 1
        try:
            if layer:
                with suppress(FileNotFoundError):
                    os.utime(self._record(layer.number))
            yield layer
        finally:
            with self._lock:
                for number in layer.stack if layer else ():
                    self._held[number] -= 1

    @contextmanager
    def draft(self) -> Generator[int]:
        """The number of a new layer, whose folder is empty; without `add` before `with` ends it is given up."""
        with self._lock:
            self._last += 1
            number = self._last
        self.path(number).mkdir(mode=0o755)
        try:
            yield number
        finally:
            if number not in self._layers:
                shutil.rmtree(self.path(number), ignore_errors=True)

    def add(self, layer: Layer) -> None:
        """Makes a draft the layer that shows its root from now on."""
        number = layer.number
        record = self._record(number)
        draft = record.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(layer))
        draft.replace(record)
        with self._lock:
            self._layers[number] = layer
            self.grown = True
            self._showing[layer.shows] = layer

    def deep(self) -> list[Layer]:
        """The layers that are to be made anew: the next ones would lie on them."""
        with self._lock:
            covered = {number for layer in self._layers.values() for number in layer.below}
            tops = [layer for layer in self._showing.values() if layer.number not in covered]
            return [layer for layer in tops if len(layer.stack) > DEEP]

    def drop_oldest(self, in_use: Callable[[], Iterable[int]]) -> Path | None:
        """Gives up the layer that was not used for the longest time and on which nothing lies; None: there is none.

        Gives its folder, which is the caller's to remove. What a workspace has must be `in_use` before its `hold` ends.
        """
        with self._lock:
            kept = {number for number, holders in self._held.items() if holders} | set(in_use())
            kept |= {number for layer in self._layers.values() for number in layer.below}
            free = [layer for layer in self._layers.values() if layer.number not in kept]
            if not free:
                return None
            oldest = min(free, key=lambda layer: used_at(self._record(layer.number)))
            self._record(oldest.number).unlink(missing_ok=True)
            del self._layers[oldest.number]
            if self._showing.get(oldest.shows) is oldest:
                del self._showing[oldest.shows]
        return self.path(oldest.number)

    def strays(self) -> list[Path]:
        """Folders of layers that were never finished, by a process that is gone."""
        return [path for path in self._folder.iterdir() if path.is_dir() and int(path.name) not in self._layers]

    def _record(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def recorded(folder: Path) -> list[Layer]:
    """The layers of a folder whose records, and those of all below them, are whole."""
    found: dict[int, Layer] = {}
    for path in folder.glob("*.json"):
        with suppress(msgspec.MsgspecError):
            found[int(path.stem)] = msgspec.json.decode(path.read_bytes(), type=Layer)
    return [layer for layer in found.values() if all(number in found for number in layer.below)]


def used_at(record: Path) -> float:
    """When a layer was last taken."""
    with suppress(FileNotFoundError):
        return record.stat().st_mtime
    return 0.0
