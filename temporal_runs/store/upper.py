"""What a command changed in an overlay becomes a tree: the upper folder over the tree that lies below it.

The cost is what changed. A name in the upper folder is a change only if its content is: what was merely opened for
writing, or touched, was copied up as well. Marks of overlayfs are read from the namespace `user.` alone, as mounted.
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from .descriptors import OPEN_FOLDER
from .ignore import Ignore, Unseen
from .intake import Intake, unreadable
from .trees import MAX_DEPTH, Node, Tree, Trees
from .upload import Upload

OPAQUE = "user.overlay.opaque"

Adopt = Callable[[int, bytes, Node], None]
"""Told the open folder, name and node of each file that has changed."""


@dataclass
class UpperScan:
    """One walk of an upper folder that nothing writes to any more."""

    trees: Trees
    upload: Upload
    intake: Intake
    ignore: Ignore
    adopt: Adopt

    def __post_init__(self) -> None:
        self.unseen = Unseen(self.trees, self.upload, self.ignore)

    def folder(self, descriptor: int, base: Node) -> Node:
        """The tree of the overlay."""
        return self._folder(descriptor, b"", base, True, base.mtime_ns)

    def _folder(self, descriptor: int, path: bytes, base: Node | None, visible: bool, mtime_ns: int) -> Node:
        """`visible`: whether what the version before had here is seen through the upper folder."""
        old = self.trees.load(base)
        tree: Tree = dict(old) if visible else {}
        with os.scandir(descriptor) as entries:
            found = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries]
        for name, one in found:
            if self.ignore.hides(path + name, folder=stat.S_ISDIR(one.st_mode)):
                continue
            tree.pop(name, None)
            if is_whiteout(one):
                continue
            if stat.S_ISDIR(one.st_mode):
                node = self._below(descriptor, name, path + name, old.get(name), visible, one.st_mtime_ns)
            else:
                node = self._entry(descriptor, name, path + name, one, old.get(name))
            if node is not None:
                tree[name] = node
        tree |= self.unseen.kept(old, tree, path)
        return self.upload.folder(tree, mtime_ns, base)

    def _below(
        self, parent: int, name: bytes, path: bytes, old: Node | None, visible: bool, mtime_ns: int
    ) -> Node | None:
        if path.count(b"/") >= MAX_DEPTH - 1:
            self.intake.skip(path, f"more than {MAX_DEPTH} folders deep")
            return None
        base = old if old and old.kind == "d" else None
        try:
            child = os.open(name, OPEN_FOLDER, dir_fd=parent)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            return self._folder(child, path + b"/", base, visible and not is_opaque(child), mtime_ns)
        finally:
            os.close(child)

    def _entry(self, folder: int, name: bytes, path: bytes, found: os.stat_result, old: Node | None) -> Node | None:
        node = self.intake.entry(folder, name, path, found, old)
        if node is not None and node is not old and node.kind in ("f", "x"):
            self.adopt(folder, name, node)
        return node


def is_whiteout(found: os.stat_result) -> bool:
    """Whether an entry says that what lies below it is deleted."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_there(folder: int, name: bytes) -> bool:
    """Whether an open upper folder itself says what has this name, a deletion included."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def is_opaque(folder: int) -> bool:
    """Whether an open folder hides everything that lies below it."""
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
