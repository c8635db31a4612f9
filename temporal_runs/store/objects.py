"""The one way to a backend: named bytes, written whole or not at all, and refs moved by compare-and-swap.

Everything above this module is the same for a folder, S3, GCS, Azure or memory. Keys: `p/` packs, `b/` contents
and parts of contents, `v/` commits, `refs/`, `d/` documents, `tmp/` probes and what is not whole yet.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from blake3 import blake3

from .errors import StoreCorrupt

Item = TypeVar("Item")

YOUNG = timedelta(hours=12)
"""Half of what `gc` lets things live that nothing refers to yet: what is younger can be relied on."""


@dataclass(frozen=True)
class Held:
    """What a ref held when it was read; `token` is what the backend compares when it is moved."""

    data: bytes
    token: Any


@dataclass(frozen=True)
class Stored:
    """An object as a listing tells of it."""

    key: str
    size: int
    at: datetime
    """When it was written, or found to be needed again."""


class Batch(Protocol):
    """New objects that come into being together: all are in place and durable when `with` ends."""

    def add(self, key: str, data: bytes) -> None:
        """Adds an object; thread-safe. One that exists is left as it is, since a key names its content, and is young
        again for `Objects.stored`: nobody who clears away old objects takes it from under us."""
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

    def get_range(self, key: str, start: int, end: int) -> bytes | None:
        """The bytes from `start` to before `end`, fewer where the object is shorter; None where there is none."""
        ...

    def exists(self, key: str) -> bool: ...

    def keys(self, prefix: str) -> list[str]:
        """Keys that are `prefix` or below it as a folder, sorted."""
        ...

    def stored(self, prefix: str) -> Iterator[Stored]:
        """The objects below a folder, in any order."""
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

    def remove_old(self, key: str, before: datetime) -> bool:
        """Removes an object, unless `Stored.at` is not before that time by now; whether it was removed."""
        ...

    def tidy(self) -> None:
        """Removes what processes that were killed have left half done."""
        ...

    def batch(self) -> Batch: ...

    def held(self, key: str) -> Held | None:
        """A ref as it stands, to be given to `swap`."""
        ...

    def swap(self, key: str, held: Held | None, data: bytes) -> bool:
        """Moves a ref if it still is what `held` says (None: absent), else False and nothing happens."""
        ...

    def each(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Does `work` on every item, as concurrently as the backend likes; the first exception ends it.

        `work` may use everything here but `each`.
        """
        ...


def digest(data: bytes) -> bytes:
    """The name of these bytes."""
    return blake3(data).digest()


def missing(key: str) -> str:
    """What to tell about an object that should be there."""
    return f"object {key} is missing from the file store. {REMEDY}"


def damaged(key: str) -> str:
    """What to tell about an object that is not what its name promises."""
    return f"object {key} does not match its hash: the file store is damaged. {REMEDY}"


REMEDY = "`temporal-runs files verify --repair` heals it where a folder or a cache still has it; else restore a backup."


def checked(key: str, name: bytes, data: bytes | None) -> bytes:
    """The bytes of an object, only if they are what their name promises."""
    if data is None:
        raise StoreCorrupt(missing(key))
    if digest(data) != name:
        raise StoreCorrupt(damaged(key))
    return data
