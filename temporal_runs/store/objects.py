"""The one way to a backend: named bytes, written whole or not at all, and refs moved by compare-and-swap.

Everything above this module is the same for a folder, S3, GCS, Azure or memory.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from blake3 import blake3

from .errors import StoreCorrupt

Item = TypeVar("Item")

CHUNK = 8 * 1024 * 1024
"""Bytes held in memory at a time; contents up to this size are read in one go."""


@dataclass(frozen=True)
class Held:
    """What a ref held when it was read; `token` is what the backend compares when it is moved."""

    data: bytes
    token: Any


class Batch(Protocol):
    """New objects that come into being together: all are in place and durable when `with` ends.

    The seam for packing small objects: nobody may rely on an object of an unfinished batch.
    """

    def add(self, key: str, data: bytes) -> None:
        """Adds an object. One that exists is left as it is: a key names its content."""
        ...

    def add_chunks(self, key: str, chunks: Iterable[bytes]) -> None:
        """The same for contents too big for memory. An exception of `chunks` leaves no object and is
        passed on; an `OSError` is taken for the backend's own."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Objects(Protocol):
    """A backend. Keys are `/`-separated and checked by the caller; faults are `StoreUnavailable`."""

    def get(self, key: str) -> bytes | None:
        """The object's bytes, None where there is none."""
        ...

    def stream(self, key: str, size: int) -> Iterator[bytes]:
        """An object of `size` bytes piece by piece; `StoreCorrupt` where there is none."""
        ...

    def exists(self, key: str) -> bool: ...

    def keys(self, prefix: str) -> list[str]:
        """Keys that are `prefix` or below it as a folder, sorted."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right below `prefix`, sorted."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Writes or overwrites, atomically and durably."""
        ...

    def delete(self, prefix: str) -> None:
        """Removes the keys that `keys` would give."""
        ...

    def batch(self) -> Batch: ...

    def held(self, key: str) -> Held | None:
        """A ref as it stands, to be given to `swap`."""
        ...

    def swap(self, key: str, held: Held | None, data: bytes) -> bool:
        """Moves a ref if it still is what `held` says (None: absent), else False and nothing happens."""
        ...

    def each(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Does `work` on every item, as concurrently as the backend likes; the first exception ends it."""
        ...


def digest(data: bytes) -> str:
    """The name of these bytes."""
    return blake3(data).hexdigest()


def blob_key(name: str) -> str:
    """Where a file's content lives."""
    return f"b/{name[:2]}/{name}"


def checked(key: str, name: str, data: bytes | None) -> bytes:
    """The bytes of an object, only if they are what their name promises."""
    if data is None:
        raise StoreCorrupt(missing(key))
    if digest(data) != name:
        raise StoreCorrupt(damaged(key))
    return data


def blob(objects: Objects, name: str, size: int) -> Iterator[bytes]:
    """A file's content piece by piece. Raises at the end if it is not what its name promises."""
    key = blob_key(name)
    if size <= CHUNK:
        yield checked(key, name, objects.get(key))
        return
    seen = blake3(max_threads=blake3.AUTO)
    for chunk in objects.stream(key, size):
        seen.update(chunk)
        yield chunk
    if seen.hexdigest() != name:
        raise StoreCorrupt(damaged(key))


def missing(key: str) -> str:
    """What to tell about an object that should be there."""
    return f"object {key} is missing from the file store. Restore it from a backup, or push its files again."


def damaged(key: str) -> str:
    """What to tell about an object that is not what its name promises."""
    return (
        f"object {key} does not match its hash: the file store is damaged. "
        "Restore it from a backup, or remove it and push its files again."
    )
