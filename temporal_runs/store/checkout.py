"""A commit becomes a folder: exactly its files, all verified, nothing outside of it, no link to the store.

Whoever is killed leaves no half file under the name of a whole one: the next pull goes on from there.
"""

import errno
import os
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .contents import Contents, FileTarget, written
from .descriptors import OPEN_FOLDER
from .errors import InvalidFolder, StoreCorrupt
from .ignore import UNFINISHED
from .intake import Progress
from .model import Updated, shown
from .objects import Objects
from .packs import Packs
from .trees import MAX_DEPTH, Node, Tree, Trees

Owner = tuple[int, int]
"""A user and a group."""

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Checkout:
    """One folder being filled. `OSError` is the target's own fault; the store's are `StoreError`."""

    objects: Objects
    owner: Owner | None
    progress: Progress | None
    _files: int = 0
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        packs = Packs(self.objects)
        self._trees = Trees(packs)
        self._contents = Contents(self.objects, packs)

    def into(self, folder: Path, root: Node) -> Updated:
        """Fills a folder that is empty or does not exist. On an exception it is left empty."""
        with empty_folder(folder) as descriptor:
            try:
                self._folder(descriptor, b"", root)
                finish(descriptor, 0o755, None, self.owner)
            except BaseException:
                clear(folder)
                raise
        return Updated(self._files, 0, self._bytes)

    def _folder(self, descriptor: int, path: bytes, folder: Node) -> None:
        if path.count(b"/") > MAX_DEPTH:
            raise StoreCorrupt(f"tree {folder.tree.hex()} is nested too deep at {shown(path)[:200]}")
        tree = self._trees.load(folder)
        self._packed(descriptor, tree)
        for name, node in tree.items():
            match node.kind:
                case "f" | "x":
                    if not node.pack:
                        self._file(descriptor, name, node)
                case "l":
                    new_link(descriptor, name, node, self.owner)
                case "d":
                    os.mkdir(name, dir_fd=descriptor)
                    child = os.open(name, OPEN_FOLDER, dir_fd=descriptor)
                    try:
                        self._folder(child, path + name + b"/", node)
                        finish(child, 0o755, node, self.owner)
                    finally:
                        os.close(child)

    def _packed(self, folder: int, tree: Tree) -> None:
        """The files of a folder whose contents are in packs."""
        names: dict[bytes, list[bytes]] = {}
        for name, node in tree.items():
            if node.kind in ("f", "x") and node.pack:
                names.setdefault(node.hash, []).append(name)
        for content, data in self._contents.packed(tree[same[0]] for same in names.values()):
            for name in names[content]:
                with new_file(folder, name, tree[name], self.owner) as descriptor:
                    written(descriptor, data, 0)
                self._tell(len(data), files=1)

    def _file(self, folder: int, name: bytes, node: Node) -> None:
        with new_file(folder, name, node, self.owner) as descriptor:
            os.ftruncate(descriptor, node.size)
            self._contents.write(node, FileTarget(descriptor), self._tell)
        self._tell(0, files=1)

    def _tell(self, size: int, files: int = 0) -> None:
        with self._lock:
            self._files += files
            self._bytes += size
            if self.progress is not None:
                self.progress(self._files, self._bytes)


def finish(descriptor: int, mode: int, node: Node | None, owner: Owner | None) -> None:
    """Gives an open file or folder what a version says of it; None: no time."""
    if owner is not None:
        os.fchown(descriptor, *owner)
    os.fchmod(descriptor, mode)
    if node is not None:
        os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))


def unfinished(name: bytes) -> bytes:
    """What a file is called until it is whole."""
    return b"." + name[:240] + UNFINISHED.encode()


@contextmanager
def new_file(folder: int, name: bytes, node: Node, owner: Owner | None = None) -> Generator[int]:
    """A descriptor to fill; when `with` ends the file has its name, in place of another."""
    fresh = unfinished(name)
    try:
        descriptor = os.open(fresh, NEW_FILE, 0o600, dir_fd=folder)
    except FileExistsError:
        os.unlink(fresh, dir_fd=folder)
        descriptor = os.open(fresh, NEW_FILE, 0o600, dir_fd=folder)
    try:
        yield descriptor
        finish(descriptor, 0o755 if node.kind == "x" else 0o644, node, owner)
    except BaseException:
        os.unlink(fresh, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)


def new_link(folder: int, name: bytes, node: Node, owner: Owner | None = None) -> None:
    """Makes a link, in place of another or a file."""
    fresh = unfinished(name)
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=folder)
    os.symlink(node.hash, fresh, dir_fd=folder)
    if owner is not None:
        os.chown(fresh, *owner, dir_fd=folder, follow_symlinks=False)
    os.utime(fresh, ns=(node.mtime_ns, node.mtime_ns), dir_fd=folder, follow_symlinks=False)
    os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)


@contextmanager
def empty_folder(folder: Path) -> Generator[int]:
    """A descriptor of the folder, made if need be; refused where anything is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise InvalidFolder(f"{folder} is not a folder. Choose another, or remove it.") from error
        raise
    try:
        if any(folder.iterdir()):
            raise InvalidFolder(f"{folder} is not empty. Choose another folder, or empty it.")
        yield descriptor
    finally:
        os.close(descriptor)


def clear(folder: Path) -> None:
    """Takes away what was written, links unfollowed, as far as that goes."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()
