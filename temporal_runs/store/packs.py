"""Packs: many small objects in one, so that 10,000 small files are a few requests and a few files.

A pack has a random name and is nothing but bytes; whoever refers to something in it says where it is. So nothing
has to be looked up, and what is read is verified by its own hash.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .errors import StoreCorrupt
from .objects import Objects, damaged, digest, missing

PACK = 8 * 1024 * 1024
"""Bytes at which a pack is full."""
GAP = 64 * 1024
"""Bytes it is cheaper to read than to ask again."""
HELD = 4
"""Packs kept in memory: what is read together was mostly written together."""


class Place(NamedTuple):
    """Where something is in a pack."""

    pack: bytes
    offset: int


class Packed(NamedTuple):
    """Something in a pack, and what it has to be."""

    place: Place
    size: int
    name: bytes
    """BLAKE3 of its bytes."""


def pack_key(pack: bytes) -> str:
    """Where a pack lives."""
    name = pack.hex()
    return f"p/{name[:2]}/{name}"


class Packer:
    """Fills packs, one after the other; `write` takes the key and the bytes of each."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        self._write = write
        self._begin()

    def add(self, name: bytes, data: bytes) -> Place:
        """Where the data, which has that name, will be once its pack is written."""
        place = self._places.get(name)
        if place is None:
            if self._data and len(self._data) + len(data) > PACK:
                self.close()
            place = self._places[name] = Place(self._pack, len(self._data))
            self._data += data
        return place

    def close(self) -> None:
        """Writes the pack that is being filled."""
        if self._data:
            self._write(pack_key(self._pack), bytes(self._data))
            self._begin()

    def _begin(self) -> None:
        self._pack = secrets.token_bytes(16)
        self._data = bytearray()
        self._places: dict[bytes, Place] = {}


class Packs:
    """Reads from packs. A pack that is asked for twice is fetched whole. For one thread."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._asked: set[bytes] = set()
        self._held: OrderedDict[bytes, bytes] = OrderedDict()

    def read(self, wanted: Iterable[Packed]) -> Iterator[tuple[Packed, bytes]]:
        """Each of them with its verified bytes, in the order of the packs."""
        for run in runs(wanted):
            first, last = run[0], run[-1]
            data = self._span(first.place.pack, first.place.offset, last.place.offset + last.size)
            for one in run:
                start = one.place.offset - first.place.offset
                content = data[start : start + one.size]
                if digest(content) != one.name:
                    raise StoreCorrupt(damaged(f"{pack_key(one.place.pack)} at {one.place.offset}"))
                yield one, content

    def _span(self, pack: bytes, start: int, end: int) -> bytes:
        if pack in self._held:
            self._held.move_to_end(pack)
            return self._held[pack][start:end]
        key = pack_key(pack)
        if pack not in self._asked:
            self._asked.add(pack)
            return present(key, self._objects.get_range(key, start, end))
        whole = self._held[pack] = present(key, self._objects.get(key))
        if len(self._held) > HELD:
            self._held.popitem(last=False)
        return whole[start:end]


def runs(wanted: Iterable[Packed]) -> Iterator[list[Packed]]:
    """What is best read in one go."""
    run: list[Packed] = []
    for one in sorted(wanted):
        if run and not near(run[-1], one):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def near(one: Packed, other: Packed) -> bool:
    """Whether the second is not far behind the first."""
    return one.place.pack == other.place.pack and other.place.offset <= one.place.offset + one.size + GAP


def present(key: str, data: bytes | None) -> bytes:
    """The bytes of an object that has to be there."""
    if data is None:
        raise StoreCorrupt(missing(key))
    return data
