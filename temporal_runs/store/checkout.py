"""A commit becomes a folder: exactly its files, all verified, nothing outside of it, no link to a blob."""

import errno
import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InvalidFolder, StoreCorrupt
from .index import Index, Stamp
from .model import shown
from .objects import Objects, blob
from .scan import OPEN_FOLDER, Progress
from .trees import MAX_DEPTH, Node, Trees, bytes_of

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Checkout:
    """One folder being filled. `OSError` is the target's own fault; the store's are `StoreError`."""

    objects: Objects
    owner: tuple[int, int] | None
    progress: Progress | None
    _stamps: dict[bytes, Stamp] = field(default_factory=dict[bytes, Stamp])
    _files: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._trees = Trees(self.objects)
        self._lock = threading.Lock()

    def into(self, folder: Path, root: Node) -> Index:
        """Fills a folder that is empty or does not exist. On an exception it is left empty."""
        descriptor = empty_folder(folder)
        try:
            self._own(descriptor, 0o755)
            self._folder(descriptor, b"", root)
        except BaseException:
            clear(folder)
            raise
        finally:
            os.close(descriptor)
        return Index(self._stamps)

    def _folder(self, descriptor: int, path: bytes, folder: Node) -> None:
        if path.count(b"/") > MAX_DEPTH:
            raise StoreCorrupt(f"tree {folder.tree} is nested too deep at {shown(path)[:200]}")
        tree = self._trees.load(folder)
        self.objects.each(
            lambda item: self._file(descriptor, item[0], path + item[0], item[1]),
            [(name, node) for name, node in tree.items() if node.kind in ("f", "x")],
        )
        for name, node in tree.items():
            if node.kind == "l":
                self._link(descriptor, name, node)
            elif node.kind == "d":
                os.mkdir(name, dir_fd=descriptor)
                child = os.open(name, OPEN_FOLDER, dir_fd=descriptor)
                try:
                    self._folder(child, path + name + b"/", node)
                    self._own(child, 0o755)
                    os.utime(child, ns=(node.mtime_ns, node.mtime_ns))
                finally:
                    os.close(child)

    def _file(self, parent: int, name: bytes, path: bytes, node: Node) -> None:
        descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=parent)
        try:
            for chunk in blob(self.objects, node.hash, node.size):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            self._own(descriptor, 0o755 if node.kind == "x" else 0o644)
            os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if found.st_size != node.size:
            raise StoreCorrupt(f"the tree says {shown(path)} has {node.size} bytes, its object has {found.st_size}")
        with self._lock:
            self._stamps[path] = Stamp.of(found, node.hash)
            self._files += 1
            self._bytes += node.size
            if self.progress is not None:
                self.progress(self._files, self._bytes)

    def _link(self, parent: int, name: bytes, node: Node) -> None:
        os.symlink(bytes_of(node.hash), name, dir_fd=parent)
        if self.owner is not None:
            os.chown(name, *self.owner, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _own(self, descriptor: int, mode: int) -> None:
        if self.owner is not None:
            os.fchown(descriptor, *self.owner)
        os.fchmod(descriptor, mode)


def empty_folder(folder: Path) -> int:
    """A descriptor of the folder, made if need be; refused where anything is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise InvalidFolder(f"{folder} is not a folder. Choose another, or remove it.") from error
        raise
    if any(folder.iterdir()):
        os.close(descriptor)
        raise InvalidFolder(f"{folder} is not empty. Choose another folder, or empty it.")
    return descriptor


def clear(folder: Path) -> None:
    """Takes away what was written, links unfollowed, as far as that goes."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()
