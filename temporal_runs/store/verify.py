"""Every object that a version refers to, read and compared with its hash; what is damaged is healed from copies.

Contents can be written again from any file that has them. A folder's tree cannot: only the store has it.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .contents import PART, Contents, blob_key, part_names, read_part
from .descriptors import opened
from .errors import StoreCorrupt
from .history import History
from .intake import Progress
from .model import shown
from .objects import Objects, digest
from .packs import Packs, pack_key
from .trees import Node, Tree, Trees

Copies = Callable[[str, bytes, Node], Iterable[Path]]
"""Files that may hold what a file of a project held at a path: none of them has to."""


@dataclass(frozen=True)
class Damage:
    """Something that is missing from the store or is not what it has to be."""

    project: str
    path: str
    """Where a version has it, "" for what is no file or folder. See `shown` for how odd names are written."""
    problem: str
    healed: bool


@dataclass
class Verification:
    """One look at everything, each object once."""

    objects: Objects
    copies: Copies
    progress: Progress | None
    _seen: set[bytes] = field(default_factory=set[bytes])
    _files: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        packs = Packs(self.objects)
        self._load = Trees(packs).load
        self._contents = Contents(self.objects, packs)

    def project(self, project: str) -> Iterator[Damage]:
        """What is damaged in the versions that the refs of a project lead to."""
        history = History(self.objects, project)
        for name in history.refs():
            try:
                ref = history.ref(name)
            except StoreCorrupt as error:
                yield Damage(project, "", str(error), healed=False)
                continue
            waiting = [ref.commit] if ref else []
            while waiting:
                commit = waiting.pop()
                if not self._is_new(bytes.fromhex(commit)):
                    continue
                try:
                    record = history.reach(commit)
                except StoreCorrupt as error:
                    yield Damage(project, "", str(error), healed=False)
                    continue
                waiting += record.commit.parents
                yield from self._folder(project, b"", record.root)

    def _folder(self, project: str, path: bytes, folder: Node) -> Iterator[Damage]:
        if not self._is_new(spot(folder)):
            return
        try:
            tree = self._load(folder)
        except StoreCorrupt as error:
            yield Damage(project, shown(path), str(error), healed=False)
            return
        yield from self._packed(project, path, tree)
        for name, node in tree.items():
            if node.kind == "d":
                yield from self._folder(project, path + name + b"/", node)
            elif node.kind != "l" and not node.pack and self._is_new(node.hash):
                yield from self._alone(project, path + name, node)

    def _packed(self, project: str, path: bytes, tree: Tree) -> Iterator[Damage]:
        """The contents of a folder that are in packs; one by one only where something is wrong."""
        files = {name: node for name, node in tree.items() if node.kind in ("f", "x") and node.pack}
        new = {name: node for name, node in files.items() if self._is_new(spot(node))}
        try:
            for _ in self._contents.packed(new.values()):
                pass
        except StoreCorrupt:
            broken: dict[bytes, list[tuple[Node, bytes]]] = {}
            for name, node in new.items():
                try:
                    next(self._contents.packed([node]))
                except StoreCorrupt as error:
                    data = self._found(project, path + name, node)
                    if data is not None:
                        broken.setdefault(node.pack, []).append((node, data))
                    yield Damage(project, shown(path + name), str(error), healed=data is not None)
            for pack, found in broken.items():
                self._mend(pack, found)
        for node in new.values():
            self._tell(node)

    def _alone(self, project: str, path: bytes, node: Node) -> Iterator[Damage]:
        """A content that is an object, or several."""
        if node.size > PART:
            try:
                self._contents.pieces(node)
            except StoreCorrupt as error:
                healed = self._replaced(project, path, node, node.hash, lambda file: part_names(file, node.size))
                yield Damage(project, shown(path), str(error), healed)
                if not healed:
                    return
        for piece in self._contents.pieces(node):
            if node.size > PART and not self._is_new(piece.name):
                continue
            try:
                self._contents.fetch(piece)
            except StoreCorrupt as error:
                start, size = piece.start, piece.size
                healed = self._replaced(
                    project, path, node, piece.name, lambda file, start=start, size=size: read_part(file, start, size)
                )
                yield Damage(project, shown(path), str(error), healed)
        self._tell(node)

    def _replaced(self, project: str, path: bytes, node: Node, name: bytes, read: Callable[[int], bytes]) -> bool:
        for file in self._candidates(project, path, node):
            data = read(file)
            if digest(data) == name:
                self.objects.put(blob_key(name), data)
                return True
        return False

    def _found(self, project: str, path: bytes, node: Node) -> bytes | None:
        for file in self._candidates(project, path, node):
            data = read_part(file, 0, node.size)
            if digest(data) == node.hash:
                return data
        return None

    def _mend(self, pack: bytes, found: list[tuple[Node, bytes]]) -> None:
        """Writes contents to where they are in a pack. What else is in it stays as it is, or is reported as well."""
        data = bytearray(self.objects.get(pack_key(pack)) or b"")
        for node, content in found:
            end = node.offset + node.size
            data.extend(bytes(max(0, end - len(data))))
            data[node.offset : end] = content
        self.objects.put(pack_key(pack), bytes(data))

    def _candidates(self, project: str, path: bytes, node: Node) -> Iterator[int]:
        for file in self.copies(project, path, node):
            with suppress(OSError), opened(file) as descriptor:
                if os.fstat(descriptor).st_size == node.size:
                    yield descriptor

    def _is_new(self, what: bytes) -> bool:
        if what in self._seen:
            return False
        self._seen.add(what)
        return True

    def _tell(self, node: Node) -> None:
        if self.progress is not None:
            self._files += 1
            self._bytes += node.size
            self.progress(self._files, self._bytes)


def spot(node: Node) -> bytes:
    """Where something is that is in a pack: a content may be in several, and only one of them be damaged."""
    return node.pack + node.offset.to_bytes(8)
