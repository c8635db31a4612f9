"""What is found in a folder on disk becomes nodes: contents are read, hashed and added to an upload."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from .contents import PART, SMALL, ZERO_PART, is_hole, parts_of, read_part
from .descriptors import OPEN_FILE
from .errors import InvalidFolder, StoreError
from .model import shown
from .objects import Objects, digest
from .trees import Node
from .upload import NOWHERE, Upload

Progress = Callable[[int, int], None]
"""Told files and bytes done so far; what it raises ends the work."""

TRIES = 3

SPECIAL = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


@dataclass
class Intake:
    """Takes in one file or link after another. What equals what was there before is not stored again."""

    objects: Objects
    upload: Upload
    progress: Progress | None
    skipped: list[str] = field(default_factory=list[str])
    _files: int = 0
    _bytes: int = 0

    def entry(self, folder: int, name: bytes, path: bytes, found: os.stat_result, old: Node | None) -> Node | None:
        """What has this name in an open folder; None for what a store does not keep, which is noted.

        Raises FileNotFoundError where it is gone by now, `InvalidFolder` where it cannot be read, and `StoreError`
        where it keeps changing.
        """
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFREG:
            try:
                node = self._file(folder, name, path, found, old)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise unreadable(path, error) from error
        elif kind == stat.S_IFLNK:
            text = os.readlink(name, dir_fd=folder)
            node = Node("l", text, len(text), found.st_mtime_ns)
        else:
            self.skip(path, SPECIAL.get(kind, "not a file"))
            return None
        node = old if old is not None and node.same(old) else node
        self.took(node)
        return node

    def skip(self, path: bytes, why: str) -> None:
        """Notes what is not taken in."""
        self.skipped.append(f"{shown(path)}: {why}")

    def took(self, node: Node) -> None:
        """Counts a file, whether it had to be read or not."""
        if self.progress is not None and node.kind in ("f", "x"):
            self._files += 1
            self._bytes += node.size
            self.progress(self._files, self._bytes)

    def _file(self, folder: int, name: bytes, path: bytes, found: os.stat_result, old: Node | None) -> Node:
        for _ in range(TRIES):
            try:
                descriptor = os.open(name, OPEN_FILE, dir_fd=folder)
            except OSError as error:
                if error.errno == errno.ELOOP:  # has become a link
                    continue
                raise
            try:
                node = self._read(descriptor, found, old)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if node is not None and stamp(after) == stamp(found):
                return node
            found = after
        raise StoreError(f"{shown(path)} kept changing while it was read. Try again when nothing writes to it.")

    def _read(self, descriptor: int, found: os.stat_result, old: Node | None) -> Node | None:
        """The node of what was read; None where it cannot be what was found. What changes while it is read leaves
        contents in the store that nothing refers to."""
        if not stat.S_ISREG(found.st_mode):
            return None
        kind = "x" if found.st_mode & 0o111 else "f"
        size, place = found.st_size, NOWHERE
        if size <= PART:
            data = os.read(descriptor, size + 1) if size < SMALL else read_part(descriptor, 0, size)
            if len(data) != size:
                return None
            name = digest(data)
            if old is None or old.hash != name:
                place = self.upload.content(name, data)
        else:
            name = self._parts(descriptor, size, old)
        if old is not None and old.hash == name:
            return Node(kind, name, size, found.st_mtime_ns, old.pack, old.offset)
        return Node(kind, name, size, found.st_mtime_ns, place.pack, place.offset)

    def _parts(self, descriptor: int, size: int, old: Node | None) -> bytes:
        """Stores a big content, as concurrently as the backend likes, and gives its name."""
        spans = list(parts_of(size))
        names = [ZERO_PART] * len(spans)

        def take(number: int) -> None:
            start, length = spans[number]
            if not (length == PART and is_hole(descriptor, start, length)):
                data = read_part(descriptor, start, length)
                names[number] = digest(data)
                self.upload.part(names[number], data)

        self.objects.each(take, range(len(spans)))
        listed = b"".join(names)
        name = digest(listed)
        if old is None or old.hash != name:
            self.upload.part(name, listed)
        return name


def unreadable(path: bytes, error: OSError) -> InvalidFolder:
    """What to tell about a path we may not, or cannot, read."""
    return InvalidFolder(f"cannot read {shown(path)}: {error.strerror}. Change its rights, or ignore it.")


def stamp(found: os.stat_result) -> tuple[int, int, int, int, int]:
    """What changes when a file is written, or is another one."""
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
