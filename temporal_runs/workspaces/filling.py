"""Trees become folders of an executor: by links to its blob cache, or copies; what the cache lacks is fetched first.

Either a whole tree, or what differs between two, as a layer for an overlay.
"""

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from temporal_runs.store.checkout import NEW_FILE, Owner, finish
from temporal_runs.store.contents import PART, Contents, FileTarget, read_part, written
from temporal_runs.store.descriptors import OPEN_FOLDER
from temporal_runs.store.errors import StoreCorrupt
from temporal_runs.store.intake import Progress
from temporal_runs.store.objects import Objects
from temporal_runs.store.packs import Packs
from temporal_runs.store.trees import MAX_DEPTH, Node, Tree, Trees
from temporal_runs.workspaces.blobs import copy_content, key_of

WHITEOUT = os.makedev(0, 0)


class Placing(Protocol):
    """How a file comes from the cache into an open folder, and into the cache from there."""

    def place(self, key: str, folder: int, name: bytes) -> bool:
        """False where the cache does not have it."""
        ...

    def keep(self, key: str, folder: int, name: bytes) -> None:
        """Told of a file that was fetched, and is finished."""
        ...

    def with_content(self, node: Node) -> AbstractContextManager[int | None]:
        """An open file of the cache with the same content, verified: another user's, or of another time."""
        ...


@dataclass
class Filling:
    """One folder being filled. `OSError` is the executor's own disk; the store's faults are `StoreError`."""

    objects: Objects
    placing: Placing
    owner: Owner
    progress: Progress
    _files: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        packs = Packs(self.objects)
        self.trees = Trees(packs)
        self._contents = Contents(self.objects, packs)
        self._gives_away = self.owner != (os.getuid(), os.getgid())

    def whole(self, folder: int, root: Node) -> None:
        """Fills an open empty folder with a tree."""
        self._fill(folder, self.trees.load(root), 0)
        self._finish(folder, 0o755, None)

    def difference(self, folder: int, old: Node, new: Node) -> None:
        """Fills an open empty folder with what an overlay needs to show `new` where `old` lies below it."""
        self._differ(folder, old, new, 0)
        self._finish(folder, 0o755, None)

    def _differ(self, folder: int, old: Node, new: Node, depth: int) -> None:
        before, after = self.trees.load(old), self.trees.load(new)
        for name in before.keys() - after.keys():
            os.mknod(name, stat.S_IFCHR, WHITEOUT, dir_fd=folder)
        added: Tree = {}
        for name, node in after.items():
            was = before.get(name)
            if was is not None and was.kind == node.kind == "d" and was != node:
                with self._folder(folder, name, node) as child:
                    self._differ(child, was, node, depth + 1)
            elif was != node:
                added[name] = node
        self._fill(folder, added, depth)

    def _fill(self, folder: int, tree: Tree, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise StoreCorrupt("a tree is nested too deep")
        lacking: Tree = {}
        for name, node in tree.items():
            match node.kind:
                case "f" | "x":
                    if not self.placing.place(key_of(node, self.owner), folder, name):
                        lacking[name] = node
                case "l":
                    self._link(folder, name, node)
                case "d":
                    with self._folder(folder, name, node) as child:
                        self._fill(child, self.trees.load(node), depth + 1)
        self._fetch(folder, lacking)
        self._tell(tree.values())

    @contextmanager
    def _folder(self, folder: int, name: bytes, node: Node) -> Generator[int]:
        os.mkdir(name, dir_fd=folder)
        child = os.open(name, OPEN_FOLDER, dir_fd=folder)
        try:
            yield child
            self._finish(child, 0o755, node)
        finally:
            os.close(child)

    def _fetch(self, folder: int, lacking: Tree) -> None:
        """Writes what the cache does not have."""
        packed: dict[bytes, list[bytes]] = {}
        for name, node in lacking.items():
            if node.pack:
                packed.setdefault(node.hash, []).append(name)
        for content, data in self._packed([lacking[names[0]] for names in packed.values()]):
            for name in packed[content]:
                with self._file(folder, name, lacking[name]) as file:
                    written(file, data, 0)

        def fetch(item: tuple[bytes, Node]) -> None:
            name, node = item
            with self._file(folder, name, node) as file, self._healing(file, node):
                os.ftruncate(file, node.size)
                for piece in self._contents.pieces(node):
                    FileTarget(file).write(self._contents.fetch(piece), 0)

        alone = {name: node for name, node in lacking.items() if not node.pack}
        self.objects.each(fetch, [(name, node) for name, node in alone.items() if node.size <= PART])
        for name, node in alone.items():
            if node.size > PART:
                with self._file(folder, name, node) as file, self._healing(file, node):
                    # Found before it is fetched: a big file is worth a look at what else the cache has.
                    if not self._copied(file, node):
                        os.ftruncate(file, node.size)
                        self._contents.write(node, FileTarget(file), lambda _: None)

    def _packed(self, nodes: list[Node]) -> Iterator[tuple[bytes, bytes]]:
        """Name and bytes of contents in packs; one by one, and from the cache, where the store has them damaged."""
        left = {node.hash: node for node in nodes}
        try:
            for name, data in self._contents.packed(nodes):
                del left[name]
                yield name, data
        except StoreCorrupt:
            for node in left.values():
                try:
                    yield from self._contents.packed([node])
                except StoreCorrupt:
                    with self.placing.with_content(node) as source:
                        if source is None:
                            raise
                        yield node.hash, read_part(source, 0, node.size)

    @contextmanager
    def _healing(self, file: int, node: Node) -> Generator[None]:
        """Fills a file from the cache where the store has its content damaged."""
        try:
            yield
        except StoreCorrupt:
            if not self._copied(file, node):
                raise

    def _copied(self, file: int, node: Node) -> bool:
        with self.placing.with_content(node) as source:
            if source is not None:
                copy_content(source, file)
            return source is not None

    @contextmanager
    def _file(self, folder: int, name: bytes, node: Node) -> Generator[int]:
        file = os.open(name, NEW_FILE, 0o600, dir_fd=folder)
        try:
            yield file
            self._finish(file, 0o755 if node.kind == "x" else 0o644, node)
        finally:
            os.close(file)
        self.placing.keep(key_of(node, self.owner), folder, name)

    def _link(self, folder: int, name: bytes, node: Node) -> None:
        os.symlink(node.hash, name, dir_fd=folder)
        if self._gives_away:
            os.chown(name, *self.owner, dir_fd=folder, follow_symlinks=False)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _finish(self, descriptor: int, mode: int, node: Node | None) -> None:
        """`node` is None for the root, of which no version says when it changed."""
        finish(descriptor, mode, node, self.owner if self._gives_away else None)

    def _tell(self, nodes: Iterable[Node]) -> None:
        sizes = [node.size for node in nodes if node.kind in ("f", "x")]
        self._files += len(sizes)
        self._bytes += sum(sizes)
        self.progress(self._files, self._bytes)
