"""A folder on disk becomes a tree: links stay text and are never followed, unchanged files are not read.

Everything is reached through descriptors of the folders above, so that a folder swapped for a link while
we walk leads nowhere.
"""

import os
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from .descriptors import OPEN_FOLDER, opened
from .errors import InvalidFolder
from .ignore import Ignore, Unseen
from .index import RACY_NS, Frame, Index, Row, encoded, joined
from .intake import Intake, unreadable
from .trees import MAX_DEPTH, Node, Trees
from .upload import Upload

row_of = attrgetter("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


@dataclass
class Scan:
    """One walk. New contents and trees go to `upload`; what equals the base is not written again."""

    trees: Trees
    upload: Upload
    intake: Intake
    ignore: Ignore
    index: Index

    def __post_init__(self) -> None:
        self.unseen = Unseen(self.trees, self.upload, self.ignore)

    def folder(self, descriptor: int, base: Node | None) -> Node:
        """The tree of an open folder. What is ignored stays as it is in `base`."""
        return self._folder(descriptor, b"", base, 0)

    def _folder(self, descriptor: int, path: bytes, base: Node | None, mtime_ns: int) -> Node:
        with os.scandir(descriptor) as entries:
            found = list(entries)
        settled = time.time_ns() - RACY_NS
        try:
            stats = [entry.stat(follow_symlinks=False) for entry in found]
        except FileNotFoundError:  # removed while we walk
            found, stats = still_there(found)
        names = [entry.name for entry in found]
        rows: list[Row] = list(map(row_of, stats))
        below = self._below(descriptor, path, base, names, rows)

        frame = self.index.at(path)
        if frame and frame.names == joined(names) and frame.rows == encoded(rows) and self._as_before(frame, below):
            self.index.keep(frame)
            self.intake.skipped += frame.skipped
            return frame.node
        known = frame.entries() if frame else {}
        old = self.trees.load(base)
        told = len(self.intake.skipped)
        nodes: list[Node | None] = []
        for name, row, one in zip(map(os.fsencode, names), rows, stats, strict=True):
            node = below.get(name)
            if node is None and not stat.S_ISDIR(row[0]) and not self.ignore.hides(path + name, folder=False):
                seen = known.get(name)
                if seen and seen[0] == row and seen[1]:
                    node = seen[1]
                    self.intake.took(node)
                else:
                    node = self._entry(descriptor, name, path, one, old.get(name))
            nodes.append(node)
        tree = {os.fsencode(name): node for name, node in zip(names, nodes, strict=True) if node}
        tree |= self.unseen.kept(old, tree, path)
        node = self.upload.folder(tree, mtime_ns, base)
        self.index.write(Frame.of(path, names, rows, nodes, node, self.intake.skipped[told:], settled))
        return node

    def _below(
        self, descriptor: int, path: bytes, base: Node | None, names: list[str], rows: list[Row]
    ) -> dict[bytes, Node]:
        """The folders in a folder."""
        below: dict[bytes, Node] = {}
        folders = [(os.fsencode(name), row[2]) for name, row in zip(names, rows, strict=True) if stat.S_ISDIR(row[0])]
        old = self.trees.load(base) if folders else {}
        for name, mtime_ns in sorted(folders):
            if self.ignore.hides(path + name, folder=True):
                continue
            if path.count(b"/") >= MAX_DEPTH - 1:
                self.intake.skip(path + name, f"more than {MAX_DEPTH} folders deep")
                continue
            try:
                child = os.open(name, OPEN_FOLDER, dir_fd=descriptor)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(path + name, error) from error
            was = old.get(name)
            was = was if was and was.kind == "d" else None
            try:
                below[name] = self._folder(child, path + name + b"/", was, mtime_ns)
            finally:
                os.close(child)
        return below

    def _as_before(self, frame: Frame, below: dict[bytes, Node]) -> bool:
        """Whether the folders in a folder, whose own files are as they were, are as well."""
        if not below:
            return True
        was = {name: node for name, (_, node) in frame.entries().items()}
        return all(was[name] == node for name, node in below.items())

    def _entry(self, descriptor: int, name: bytes, path: bytes, found: os.stat_result, old: Node | None) -> Node | None:
        try:
            return self.intake.entry(descriptor, name, path + name, found, old)
        except FileNotFoundError:
            return None


def noted(index: Index, trees: Trees, descriptor: int, root: Node, path: bytes = b"") -> None:
    """Makes the index of an open folder that was just filled with a tree: a scan reads what changes from now on."""
    tree = trees.load(root)
    for name, node in sorted(tree.items()):
        if node.kind == "d":
            with opened(name, descriptor, OPEN_FOLDER) as child:
                noted(index, trees, child, node, path + name + b"/")
    with os.scandir(descriptor) as entries:
        found = list(entries)
    rows: list[Row] = [row_of(entry.stat(follow_symlinks=False)) for entry in found]
    names = [entry.name for entry in found]
    nodes = [tree.get(os.fsencode(name)) for name in names]
    # Nobody else has written to it so far: whatever its time, no row is of a file that was about to change.
    index.write(Frame.of(path, names, rows, nodes, root, [], settled=time.time_ns()))


def still_there(entries: list[os.DirEntry[str]]) -> tuple[list[os.DirEntry[str]], list[os.stat_result]]:
    """The entries of a folder that can still be looked at."""
    found: list[os.DirEntry[str]] = []
    stats: list[os.stat_result] = []
    for entry in entries:
        with suppress(FileNotFoundError):
            stats.append(entry.stat(follow_symlinks=False))
            found.append(entry)
    return found, stats


@contextmanager
def open_folder(folder: Path) -> Generator[int]:
    """A descriptor of a folder that a person named, links on the way followed; `InvalidFolder` where it cannot be."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidFolder(f"cannot read the folder {folder}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
