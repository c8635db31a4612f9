"""Objects behind any URL obstore knows. Only its sync API: the async one aborts the interpreter at exit."""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore, from_url

from .concurrent import work_through
from .drafts import ABANDONED
from .errors import StoreUnavailable
from .objects import YOUNG, Batch, Held, Item, Stored

if TYPE_CHECKING:
    from obstore import UpdateVersion

THREADS = 16
CONTENTS = "b/"
"""What may be there already, and is asked for before it is sent: everything else has a new name each time."""
RETRY_FOR = timedelta(seconds=10)
"""How long obstore itself retries; its own 3 minutes would hide a fault from whoever can act on it."""


class RemoteObjects:
    """A bucket, container or memory as a backend, refused where it ignores conditional writes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._uploads = ThreadPoolExecutor(THREADS, thread_name_prefix="upload")
        self._workers = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        with self._told("be opened"):
            try:
                self.store: ObjectStore = open_url(url)
            except ValueError as error:
                raise StoreUnavailable(f"the file store {url} could not be opened: {error}") from error
        self._probe()

    def get(self, key: str) -> bytes | None:
        with self._told(f"read {key}"):
            try:
                return bytes(obstore.get(self.store, key).bytes())
            except FileNotFoundError:
                return None

    def get_range(self, key: str, start: int, end: int) -> bytes | None:
        with self._told(f"read {key}"):
            try:
                return bytes(obstore.get_range(self.store, key, start=start, end=end))
            except FileNotFoundError:
                return None

    def exists(self, key: str) -> bool:
        with self._told(f"look for {key}"):
            try:
                obstore.head(self.store, key)
            except FileNotFoundError:
                return False
            return True

    def keys(self, prefix: str) -> list[str]:
        with self._told(f"list {prefix}"):
            pages = obstore.list(self.store, prefix, chunk_size=1000)  # pyright: ignore[reportUnknownMemberType]
            found = {meta["path"] for page in pages for meta in page}
        if self.exists(prefix):
            found.add(prefix)
        return sorted(found)

    def stored(self, prefix: str) -> Iterator[Stored]:
        with self._told(f"list {prefix}"):
            pages = obstore.list(self.store, prefix, chunk_size=1000)  # pyright: ignore[reportUnknownMemberType]
            for page in pages:
                for meta in page:
                    yield Stored(meta["path"], meta["size"], meta["last_modified"])

    def folders(self, prefix: str) -> list[str]:
        with self._told(f"list {prefix}"):
            page = obstore.list_with_delimiter(self.store, prefix)  # pyright: ignore[reportUnknownMemberType]
        return sorted(name.rstrip("/").rpartition("/")[2] for name in page["common_prefixes"])

    def put(self, key: str, data: bytes) -> None:
        with self._told(f"write {key}"):
            obstore.put(self.store, key, data, use_multipart=False)

    def delete(self, prefix: str) -> None:
        keys = self.keys(prefix)
        with self._told(f"delete {prefix}"):
            for start in range(0, len(keys), 1000):
                obstore.delete(self.store, keys[start : start + 1000])

    def remove_old(self, key: str, before: datetime) -> bool:
        with self._told(f"delete {key}"):
            try:
                if obstore.head(self.store, key)["last_modified"] >= before:
                    return False
            except FileNotFoundError:
                return False
            obstore.delete(self.store, key)
            return True

    def tidy(self) -> None:
        # An object comes whole or not at all: there are probes only. Nobody can tell whose, but by their age.
        for key in [one.key for one in self.stored("tmp")]:
            self.remove_old(key, datetime.now(UTC) - timedelta(seconds=ABANDONED))

    def batch(self) -> Batch:
        return RemoteBatch(self, self._uploads)

    def held(self, key: str) -> Held | None:
        with self._told(f"read {key}"):
            try:
                found = obstore.get(self.store, key)
                return Held(bytes(found.bytes()), version_of(found.meta["e_tag"], found.meta["version"]))
            except FileNotFoundError:
                return None

    def swap(self, key: str, held: Held | None, data: bytes) -> bool:
        with self._told(f"move {key}"):
            try:
                obstore.put(self.store, key, data, mode=held.token if held else "create")
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return False
            return True

    def each(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        work_through(self._workers, work, items)

    def create(self, key: str, data: bytes) -> bool:
        """Writes an object, unless it is there and young; whether it was old, and is written again."""
        with self._told(f"write {key}"):
            at = self._written_at(key) if key.startswith(CONTENTS) else None
            if at is None or datetime.now(UTC) - at >= YOUNG:
                obstore.put(self.store, key, data, use_multipart=False)
                return at is not None
            return False

    def _written_at(self, key: str) -> datetime | None:
        try:
            return obstore.head(self.store, key)["last_modified"]
        except FileNotFoundError:
            return None

    def _probe(self) -> None:
        # Some servers (rclone's S3, 1.75) take conditional writes and ignore the condition, silently.
        key = f"tmp/probe-{secrets.token_hex(8)}"
        if not self.swap(key, None, b"1"):
            raise StoreUnavailable(f"the file store {self.url} refuses to create a new object ({key})")
        try:
            first = self.held(key)
            if self.swap(key, None, b"2"):
                raise self._unfit("it overwrites an object that was to be created only if absent")
            if first is None or not self.swap(key, first, b"3"):
                raise self._unfit("it refuses to replace an object whose ETag was given")
            if self.swap(key, first, b"4"):
                raise self._unfit("it replaces an object although the ETag given is stale")
        finally:
            self.delete(key)

    def _unfit(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"the file store {self.url} cannot keep concurrent results apart: {why}. "
            "Use a server that honours If-None-Match and If-Match."
        )

    @contextmanager
    def _told(self, doing: str) -> Generator[None]:
        try:
            yield
        except (BaseError, OSError, NotImplementedError) as error:
            reason = " ".join(str(error).partition("Debug source:")[0].split()).rstrip(".")
            raise StoreUnavailable(
                f"the file store {self.url} could not {doing}: {reason}. "
                "Check its address, the credentials and that it is up."
            ) from error


class RemoteBatch:
    """Uploads as objects come, some at a time; an object that is in place is whole.

    No server can be told to delete an object only if it is still the old one. So what was old and is written again is
    looked for at the end: whoever cleared away old objects may have taken the new one. What remains is the moment
    between a clean-up's look at an object and its deletion, if the batch ends within it.
    """

    def __init__(self, objects: RemoteObjects, uploads: ThreadPoolExecutor) -> None:
        self._objects = objects
        self._uploads = uploads
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._pending: deque[Future[None]] = deque()
        self._again: list[str] = []

    def add(self, key: str, data: bytes) -> None:
        with self._lock:
            if key in self._keys:
                return
            self._keys.add(key)
            oldest = self._pending.popleft() if len(self._pending) >= THREADS else None
        if oldest is not None:  # bounds the memory: each holds its bytes
            oldest.result()
        pending = self._uploads.submit(self._create, key, data)
        with self._lock:
            self._pending.append(pending)

    def _create(self, key: str, data: bytes) -> None:
        if self._objects.create(key, data):
            self._again.append(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for future in self._pending:
            if error is not None:
                future.cancel()
            else:
                future.result()
        if error is None and (gone := [key for key in self._again if not self._objects.exists(key)]):
            raise StoreUnavailable(
                f"{gone[0]} was cleared away from the file store {self._objects.url} as it was needed again. Try again."
            )


def open_url(url: str) -> ObjectStore:
    """obstore's store for a URL, with faults surfacing in seconds."""
    if url.startswith("memory:"):
        return from_url("memory:///")
    return from_url(url, retry_config={"max_retries": 5, "retry_timeout": RETRY_FOR})


def version_of(e_tag: str | None, version: str | None) -> "UpdateVersion":
    """What obstore compares. A `version` of None must be left out: it raises TypeError."""
    return {"e_tag": e_tag} if version is None else {"e_tag": e_tag, "version": version}
