"""Objects in a local folder. What is in place is whole and on disk; nothing is ever seen half written."""

import ctypes
import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from .concurrent import work_through
from .drafts import clear_abandoned, draft_in
from .errors import StoreUnavailable
from .objects import YOUNG, Batch, Held, Item, Stored

FOLDERS = ("b", "p", "v", "d", "refs", "tmp")
FEW = 64
"""Objects up to which each is synced by itself; a sync of the whole filesystem also waits for others' data."""
BIG = 1024 * 1024
"""Bytes of an object that is synced at once, in the background."""

ADVICE = {
    errno.ENOSPC: "Its disk is full: free space there.",
    errno.EDQUOT: "Its disk quota is used up: free space there.",
    errno.EACCES: "Give this user the right to read and write it.",
    errno.EPERM: "Give this user the right to read and write it.",
    errno.EROFS: "It is mounted read-only: mount it writable.",
    errno.ENOENT: "It is gone: mount or restore it.",
}


class LocalObjects:
    """A folder as a backend, made where it does not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with self.told("be opened"):
            for name in FOLDERS:
                (root / name).mkdir(parents=True, exist_ok=True)
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="store")
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="sync")
        with suppress(OSError):  # a store that is read-only, or another process cleaning up
            clear_abandoned(root / "tmp")

    def get(self, key: str) -> bytes | None:
        with self.told(f"read {key}"):
            try:
                return self.path(key).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                self._expect_root()
                return None

    def get_range(self, key: str, start: int, end: int) -> bytes | None:
        with self.told(f"read {key}"):
            try:
                with self.path(key).open("rb", buffering=0) as file:
                    return os.pread(file.fileno(), end - start, start)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                self._expect_root()
                return None

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def keys(self, prefix: str) -> list[str]:
        with self.told(f"list {prefix}"):
            self._expect_root()
            top = self.path(prefix)
            if top.is_file():
                return [prefix]
            return sorted(str(path.relative_to(self.root)) for path in files_below(top))

    def stored(self, prefix: str) -> Iterator[Stored]:
        with self.told(f"list {prefix}"):
            self._expect_root()
            for path in files_below(self.path(prefix)):
                with suppress(FileNotFoundError):  # removed meanwhile
                    found = path.stat()
                    at = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield Stored(str(path.relative_to(self.root)), found.st_size, at)

    def folders(self, prefix: str) -> list[str]:
        with self.told(f"list {prefix}"):
            self._expect_root()
            try:
                return sorted(entry.name for entry in os.scandir(self.path(prefix)) if entry.is_dir())
            except FileNotFoundError:
                return []

    def put(self, key: str, data: bytes) -> None:
        with self.told(f"write {key}"):
            self._replace(self.path(key), data)

    def delete(self, prefix: str) -> None:
        with self.told(f"delete {prefix}"):
            path = self.path(prefix)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # a second deleter may be faster
            if path.exists():
                path.unlink(missing_ok=True)

    def remove_old(self, key: str, before: datetime) -> bool:
        # Out of sight first: whoever needs it from then on writes it anew, whoever came earlier has made it young.
        path, aside = self.path(key), draft_in(self.root / "tmp")
        with self.told(f"delete {key}"):
            try:
                if path.stat().st_mtime >= before.timestamp():
                    return False
                path.rename(aside)
            except FileNotFoundError:
                return False
            if aside.stat().st_mtime >= before.timestamp():
                place(aside, path)
                return False
            aside.unlink()
            return True

    def tidy(self) -> None:
        with self.told("be tidied"):
            clear_abandoned(self.root / "tmp")

    def batch(self) -> Batch:
        return LocalBatch(self, self._syncing)

    def held(self, key: str) -> Held | None:
        data = self.get(key)
        return None if data is None else Held(data, None)

    def swap(self, key: str, held: Held | None, data: bytes) -> bool:
        # flock, since a filesystem has no compare-and-swap and obstore's own for folders is not one.
        path = self.path(key)
        with self.told(f"move {key}"), self._locked(path.parent):
            now = path.read_bytes() if path.exists() else None
            if now != (held.data if held else None):
                return False
            self._replace(path, data)
            return True

    def each(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        work_through(self._workers, work, items)

    def renew(self, key: str) -> bool:
        """Makes an object young again; False where it has to be written, since there is none, or no young one."""
        path = self.path(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's, in a store that is shared
            return time.time() - path.stat().st_mtime < YOUNG.total_seconds()
        return True

    def path(self, key: str) -> Path:
        """Where a key's file is."""
        return self.root / key

    def _expect_root(self) -> None:
        # Without this an unmounted store looks like an empty one.
        (self.root / "tmp").stat()

    @contextmanager
    def told(self, doing: str) -> Generator[None]:
        """Translates what the disk says into `StoreUnavailable`."""
        try:
            yield
        except OSError as error:
            advice = ADVICE.get(error.errno or 0, "Check the disk and the folder.")
            raise StoreUnavailable(
                f"the file store {self.root} could not {doing}: {error.strerror}. {advice}"
            ) from error

    @contextmanager
    def _locked(self, folder: Path) -> Generator[None]:
        self._expect_root()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, path: Path, data: bytes) -> None:
        temporary = self.write_temporary(data)
        try:
            sync(temporary)
            place(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)

    def write_temporary(self, data: bytes) -> Path:
        """A new file outside of everybody's sight. Fails, as it should, where the store's folder is gone."""
        path = draft_in(self.root / "tmp")
        try:
            with path.open("xb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path


class LocalBatch:
    """Writes aside, syncs, then renames into place.

    In that order, because another process that finds an object takes it as given and may make its own
    commit durable before we get further: whatever has its final name must already be on disk. Big objects are
    synced while the next ones are made; up to `FEW` small ones one by one at the end, more by one sync of the
    filesystem: 10,000 single ones take 6 s.
    """

    def __init__(self, objects: LocalObjects, syncing: ThreadPoolExecutor) -> None:
        self._objects = objects
        self._syncing = syncing
        self._lock = threading.Lock()
        self._staged: dict[str, Path | None] = {}
        self._synced: list[Future[None]] = []

    def add(self, key: str, data: bytes) -> None:
        with self._objects.told(f"write {key}"):
            with self._lock:
                if key in self._staged:
                    return
                self._staged[key] = None
            if self._objects.renew(key):
                return
            temporary = self._staged[key] = self._objects.write_temporary(data)
            if len(data) >= BIG:
                self._synced.append(self._syncing.submit(sync, temporary))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with self._objects.told("keep new objects"):
                    self._finish()
        finally:
            wait(self._synced)
            for temporary in filter(None, self._staged.values()):
                temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        places = {path: self._objects.path(key) for key, path in self._staged.items() if path}
        for synced in self._synced:
            synced.result()
        if len(places) > len(self._synced):
            sync_all(self._objects.root, list(places))
        for temporary, path in places.items():
            place(temporary, path)
        sync_all(self._objects.root, list({path.parent for path in places.values()}))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, none where there is no folder. What cannot be listed raises OSError: by itself
    `os.walk` passes it over, and what is not seen here is taken for gone, and what it needs for litter."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for above, _, names in os.walk(folder, onerror=failed):
        yield from (Path(above, name) for name in names)


def place(temporary: Path, path: Path) -> None:
    """Renames, making the folder where it is missing (or was just deleted by somebody)."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            temporary.rename(path)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    raise OSError(errno.ENOENT, "its folder is deleted again and again", str(path))


def sync(path: Path) -> None:
    """Waits until a file, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(root: Path, paths: list[Path]) -> None:
    """The same for many, by whichever way is cheaper."""
    if len(paths) <= FEW:
        for path in paths:
            sync(path)
        return
    sync_filesystem(root)


def sync_filesystem(path: Path) -> None:
    """Waits until everything on the filesystem of a path is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
