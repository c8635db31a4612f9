"""A folder on disk becomes a tree: links stay text and are never followed, unchanged files are not read.

Everything is reached through descriptors of the folders above, so that a folder swapped for a link while
we walk leads nowhere.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from .errors import InvalidFolder, StoreError
from .ignore import Ignore
from .index import Index
from .model import shown
from .objects import CHUNK, Batch, Objects, blob_key, digest
from .trees import MAX_DEPTH, Node, Tree, Trees, saved, text_of

Progress = Callable[[int, int], None]
"""Told files and bytes done so far; what it raises ends the work."""

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nonblock: it may have become a fifo

SPECIAL = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class ChangedWhileRead(Exception):
    """A file is not what it was a moment ago; reading it again may help."""


@dataclass
class Scan:
    """One walk. New contents and trees go to `batch`; what equals `base` is not written again."""

    objects: Objects
    batch: Batch
    index: Index
    progress: Progress | None
    skipped: list[str] = field(default_factory=list[str])
    _ignore: Ignore = field(default_factory=lambda: Ignore([]))
    _files: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._trees = Trees(self.objects)

    def folder(self, folder: Path, base: Node | None) -> Node:
        """The tree of `folder`. What is ignored stays as it is in `base`."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidFolder(f"cannot read the folder {folder}: {error.strerror}") from error
        try:
            try:
                self._ignore = Ignore.of(descriptor)
            except OSError as error:
                raise InvalidFolder(f"cannot read the ignore files of {folder}: {error.strerror}") from error
            return self._folder(descriptor, b"", base, 0)
        finally:
            os.close(descriptor)

    def _folder(self, descriptor: int, path: bytes, base: Node | None, mtime_ns: int) -> Node:
        old = self._trees.load(base)
        new: Tree = {}
        folders: list[tuple[bytes, int]] = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                try:
                    found = entry.stat(follow_symlinks=False)
                    if self._ignore.hides(path + name, folder=stat.S_ISDIR(found.st_mode)):
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        folders.append((name, found.st_mtime_ns))
                        continue
                    node = self._entry(descriptor, name, path + name, found, old.get(name))
                except FileNotFoundError:  # removed while we walk
                    continue
                except OSError as error:
                    raise unreadable(path + name, error) from error
                if node is not None:
                    new[name] = node
                    self._tell(node)
        for name, changed_ns in folders:
            node = self._below(descriptor, name, path + name, changed_ns, old.get(name))
            if node is not None:
                new[name] = node
        for name, node in old.items():
            if name not in new and (kept := self._hidden(path + name, node)) is not None:
                new[name] = kept
        return saved(self.batch, new, mtime_ns, base)

    def _below(self, parent: int, name: bytes, path: bytes, mtime_ns: int, old: Node | None) -> Node | None:
        if path.count(b"/") >= MAX_DEPTH - 1:
            self.skipped.append(f"{shown(path)}: more than {MAX_DEPTH} folders deep")
            return None
        try:
            child = os.open(name, OPEN_FOLDER, dir_fd=parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            return self._folder(child, path + b"/", old if old is not None and old.kind == "d" else None, mtime_ns)
        finally:
            os.close(child)

    def _entry(self, parent: int, name: bytes, path: bytes, found: os.stat_result, old: Node | None) -> Node | None:
        match stat.S_IFMT(found.st_mode):
            case stat.S_IFREG:
                node = self._file(parent, name, path, found, old)
            case stat.S_IFLNK:
                text = os.readlink(name, dir_fd=parent)
                node = Node("l", text_of(text), len(text), found.st_mtime_ns)
            case kind:
                self.skipped.append(f"{shown(path)}: {SPECIAL.get(kind, 'not a file')}")
                return None
        return old if node.same(old) else node

    def _tell(self, node: Node) -> None:
        if self.progress is not None and node.kind in ("f", "x"):
            self._files += 1
            self._bytes += node.size
            self.progress(self._files, self._bytes)

    def _hidden(self, path: bytes, old: Node) -> Node | None:
        """What is ignored of a base entry that the walk did not see: it was not seen, so not deleted."""
        if self._ignore.hides(path, folder=old.kind == "d"):
            return old
        if old.kind != "d" or not self._ignore.patterns:
            return None
        below = {
            name: kept
            for name, node in self._trees.load(old).items()
            if (kept := self._hidden(path + b"/" + name, node)) is not None
        }
        return saved(self.batch, below, old.mtime_ns, old) if below else None

    def _file(self, parent: int, name: bytes, path: bytes, found: os.stat_result, old: Node | None) -> Node:
        known = self.index.unchanged(path, found)
        if known is not None:
            return file_node(known, found)
        for _ in range(2):
            try:
                descriptor = os.open(name, OPEN_FILE, dir_fd=parent)
            except OSError as error:
                if error.errno == errno.ELOOP:  # has become a link
                    continue
                raise
            try:
                return self._read(descriptor, old)
            except ChangedWhileRead:
                continue
            finally:
                os.close(descriptor)
        raise StoreError(f"{shown(path)} kept changing while it was read. Try again when nothing writes to it.")

    def _read(self, descriptor: int, old: Node | None) -> Node:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise ChangedWhileRead
        if before.st_size <= CHUNK:
            data = b"".join(chunks(descriptor))
            name = digest(data)
            expect_unchanged(descriptor, before)
            if old is None or old.hash != name:
                self.batch.add(blob_key(name), data)
            return file_node(name, before)
        # Read twice: content that is already there is not copied, and a hash costs a tenth of a copy.
        seen = blake3(max_threads=blake3.AUTO)
        for chunk in chunks(descriptor):
            seen.update(chunk)
        name = seen.hexdigest()
        expect_unchanged(descriptor, before)
        if old is None or old.hash != name:
            self.batch.add_chunks(blob_key(name), only(name, chunks(descriptor)))
        return file_node(name, before)


def unreadable(path: bytes, error: OSError) -> InvalidFolder:
    """What to tell about a path we may not, or cannot, read."""
    return InvalidFolder(f"cannot read {shown(path)}: {error.strerror}. Change its rights, or ignore it.")


def file_node(name: str, found: os.stat_result) -> Node:
    """A file of that content. Of its mode only the executable bit is kept."""
    return Node("x" if found.st_mode & 0o111 else "f", name, found.st_size, found.st_mtime_ns)


def chunks(descriptor: int) -> Iterator[bytes]:
    """A file from its beginning."""
    offset = 0
    while True:
        try:
            chunk = os.pread(descriptor, CHUNK, offset)
        except OSError as error:  # told here, or the store it is written to would be blamed
            raise InvalidFolder(f"cannot read a file of the folder to its end: {error.strerror}") from error
        if not chunk:
            return
        offset += len(chunk)
        yield chunk


def only(name: str, source: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, refused at their end unless they are the content of that name."""
    seen = blake3(max_threads=blake3.AUTO)
    for chunk in source:
        seen.update(chunk)
        yield chunk
    if seen.hexdigest() != name:
        raise ChangedWhileRead


def expect_unchanged(descriptor: int, before: os.stat_result) -> None:
    """Refuses what was read if the file has changed since `before`."""
    after = os.fstat(descriptor)
    if stamp(after) != stamp(before):
        raise ChangedWhileRead


def stamp(found: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file is written."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
