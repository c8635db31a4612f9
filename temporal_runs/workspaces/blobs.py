"""The blob cache of an executor: files with their content, rights, owner and time, to be linked into snapshots.

A file in it is never written to again. It can be linked to by 65,000 names on ext4; then a copy takes its place.
"""

import errno
import os
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from temporal_runs.store.checkout import NEW_FILE, Owner
from temporal_runs.store.contents import content_of
from temporal_runs.store.descriptors import opened
from temporal_runs.store.trees import Node


class Blobs:
    """Files by what they are, and whose. Thread-safe; several may put the same at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in range(256):
            (folder / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.grown = False
        """whether there is a new one; for others to set back"""

    def close(self) -> None:
        """Nothing may be asked for afterwards."""
        os.close(self._descriptor)

    def link(self, key: str, folder: int, name: bytes) -> bool:
        """Gives a file another name, in an open folder; False where the cache does not have it."""
        try:
            os.link(key, name, src_dir_fd=self._descriptor, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            self._renew(key)
            return self.link(key, folder, name)
        return True

    def adopt(self, key: str, folder: int, name: bytes) -> None:
        """Gives a finished file of an open folder a name in the cache; one that is there already is kept.

        From another disk, such as one that only this workspace has, it comes as a copy.
        """
        try:
            os.link(name, key, src_dir_fd=folder, dst_dir_fd=self._descriptor, follow_symlinks=False)
            self.grown = True
        except FileExistsError:
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.adopt_copy(key, folder, name)

    def copy(self, key: str, folder: int, name: bytes) -> bool:
        """Like `link`, but the file is one of its own."""
        try:
            with opened(key.encode(), self._descriptor) as source:
                copied(source, folder, name)
                # No link tells that it was of use: its ctime has to.
                os.utime(source, ns=(time.time_ns(), os.fstat(source).st_mtime_ns))
        except FileNotFoundError:
            return False
        return True

    def adopt_copy(self, key: str, folder: int, name: bytes) -> None:
        """Like `adopt`, but the file in the folder stays one of its own."""
        with opened(name, folder) as source:
            self._replace(source, key)

    @contextmanager
    def with_content(self, node: Node) -> Generator[int | None]:
        """A file that has a node's content, verified, whosever and however old it is; None where there is none."""
        name = node.hash.hex()
        for entry in os.scandir(self.folder / name[:2]):
            if entry.name.startswith(name[2:]):
                with suppress(FileNotFoundError), opened(f"{name[:2]}/{entry.name}".encode(), self._descriptor) as file:
                    if content_of(file) == node.hash:
                        yield file
                        return
        yield None

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """All of them, in any order."""
        for shelf in self.folder.iterdir():
            for entry in os.scandir(shelf):
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)

    def _renew(self, key: str) -> None:
        """Puts a copy in place of a file that has as many names as it may have."""
        with opened(key.encode(), self._descriptor) as source:
            self._replace(source, key)

    def _replace(self, source: int, key: str) -> None:
        draft = f"{key}.{secrets.token_hex(4)}"
        copied(source, self._descriptor, draft.encode())
        os.rename(draft, key, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self.grown = True


class Links:
    """Files that are names of what is in the cache: for folders that nothing writes to."""

    def __init__(self, blobs: Blobs) -> None:
        self.place = blobs.link
        self.keep = blobs.adopt
        self.with_content = blobs.with_content


class Copies:
    """Files of their own: for folders that are written to."""

    def __init__(self, blobs: Blobs) -> None:
        self.place = blobs.copy
        self.keep = blobs.adopt_copy
        self.with_content = blobs.with_content


def key_of(node: Node, owner: Owner) -> str:
    """Where the file of a node is: names share owner, mode and time, so these are part of what it is."""
    name = node.hash.hex()
    return f"{name[:2]}/{name[2:]}{node.kind}{node.mtime_ns:x}.{owner[0]}.{owner[1]}"


def copied(source: int, folder: int, name: bytes) -> None:
    """A new file with content, owner, mode and time of an open one."""
    found = os.fstat(source)
    target = os.open(name, NEW_FILE, 0o600, dir_fd=folder)
    try:
        copy_content(source, target)
        if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):
            os.fchown(target, found.st_uid, found.st_gid)
        os.fchmod(target, found.st_mode & 0o777)
        os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
    finally:
        os.close(target)


def copy_content(source: int, target: int) -> None:
    """Writes the content of an open file, holes left out, into an empty one. Shares its blocks where the disk can."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for start, end in extents(source, size):
        _copy(source, target, start, end)


def _copy(source: int, target: int, start: int, end: int) -> None:
    try:
        while start < end:
            start += os.copy_file_range(source, target, end - start, start, start)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EOPNOTSUPP}:
            raise
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            start += os.sendfile(target, source, start, end - start)


def extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Beginning and end of what an open file holds between its holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
