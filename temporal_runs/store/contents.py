"""What is in files: small contents in packs, bigger ones as objects of their own, the biggest in parts.

A content of up to `PART` bytes is named by the BLAKE3 of its bytes; a bigger one by the BLAKE3 of the names of its
parts. So every object is verified by itself, in any order, and of a file that grew only the last parts are new.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .errors import StoreCorrupt
from .objects import Objects, checked, damaged, digest
from .packs import Packs
from .trees import NAME_BYTES, Node

SMALL = 64 * 1024
"""Bytes up to which a content goes into a pack."""
PART = 8 * 1024 * 1024
"""Bytes of a part, and up to which a content is one object: what is in memory at a time."""
HOLE = 256 * 1024
"""Bytes of nothing but zeros that are not written but left out."""

ZEROS = bytes(PART)
NOTHING = bytes(HOLE)
ZERO_PART = digest(ZEROS)
"""A part that is never stored: what sparse files are mostly made of."""
EMPTY = digest(b"")


def blob_key(name: bytes) -> str:
    """Where a content, or a part of one, lives that is not in a pack."""
    text = name.hex()
    return f"b/{text[:2]}/{text}"


def parts_of(size: int) -> Iterator[tuple[int, int]]:
    """Beginning and length of each part of a content."""
    for start in range(0, size, PART):
        yield start, min(PART, size - start)


def content_of(descriptor: int) -> bytes:
    """What a commit calls the content of an open file."""
    size = os.fstat(descriptor).st_size
    return digest(read_part(descriptor, 0, size) if size <= PART else part_names(descriptor, size))


def part_names(descriptor: int, size: int) -> bytes:
    """The names of the parts of an open file: the object that such a content is named by."""
    return b"".join(
        ZERO_PART
        if length == PART and is_hole(descriptor, start, length)
        else digest(read_part(descriptor, start, length))
        for start, length in parts_of(size)
    )


def read_part(descriptor: int, start: int, length: int) -> bytes:
    """Bytes of an open file, fewer only at its end."""
    data = os.pread(descriptor, length, start)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data


def is_hole(descriptor: int, start: int, length: int) -> bool:
    """Whether nothing was ever written there. Says False where the file system cannot tell."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) >= start + length
    except OSError:  # ENXIO: from there on there is only a hole, up to the end
        return start + length <= os.fstat(descriptor).st_size


class Target(Protocol):
    """Where a content is written, from several threads at once."""

    def write(self, data: bytes, at: int) -> None: ...


@dataclass(frozen=True)
class FileTarget:
    """A new file. Zeros are left out of it, as holes."""

    descriptor: int

    def write(self, data: bytes, at: int) -> None:
        if len(data) <= HOLE:
            written(self.descriptor, data, at)
            return
        for start in range(0, len(data), HOLE):
            piece = data[start : start + HOLE]
            if piece != NOTHING[: len(piece)]:
                written(self.descriptor, piece, at + start)


def written(descriptor: int, data: bytes | memoryview, at: int) -> None:
    """Writes all of it."""
    done = os.pwrite(descriptor, data, at)
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], at + done)


@dataclass(frozen=True)
class Piece:
    """An object of a content that is not in a pack, and where in the file it goes."""

    name: bytes
    start: int
    size: int


class Contents:
    """Reads contents. For one thread; `fetch` may be called by several."""

    def __init__(self, objects: Objects, packs: Packs) -> None:
        self._objects = objects
        self._packs = packs

    def packed(self, nodes: Iterable[Node]) -> Iterator[tuple[bytes, bytes]]:
        """Name and verified bytes of contents that are in packs; a content that is wanted twice comes once."""
        for one, data in self._packs.read({node.packed for node in nodes}):
            yield one.name, data

    def pieces(self, node: Node) -> list[Piece]:
        """What a content that is not in a pack is made of; zeros are left out."""
        if node.size <= PART:
            return [Piece(node.hash, 0, node.size)] if node.size else []
        key = blob_key(node.hash)
        names = checked(key, node.hash, self._objects.get(key))
        spans = list(parts_of(node.size))
        if len(names) != NAME_BYTES * len(spans):
            raise StoreCorrupt(damaged(key))
        found = [
            Piece(names[number * NAME_BYTES : (number + 1) * NAME_BYTES], start, length)
            for number, (start, length) in enumerate(spans)
        ]
        return [piece for piece in found if piece.name != ZERO_PART]

    def fetch(self, piece: Piece) -> bytes:
        """The verified bytes of a piece."""
        key = blob_key(piece.name)
        data = checked(key, piece.name, self._objects.get(key))
        if len(data) != piece.size:
            raise StoreCorrupt(f"object {key} has {len(data)} bytes, its tree says {piece.size}.")
        return data

    def read(self, node: Node) -> Iterator[bytes]:
        """A content from its beginning, verified piece by piece."""
        if node.pack:
            yield from (data for _, data in self.packed([node]))
            return
        end = 0
        for piece in self.pieces(node):
            yield from zeros(piece.start - end)
            yield self.fetch(piece)
            end = piece.start + piece.size
        yield from zeros(node.size - end)

    def write(self, node: Node, target: Target, told: Callable[[int], None]) -> None:
        """Writes a content that is not in a pack, as concurrently as the backend likes; tells each piece's bytes."""

        def copy(piece: Piece) -> None:
            target.write(self.fetch(piece), piece.start)
            told(piece.size)

        self._objects.each(copy, self.pieces(node))


def zeros(size: int) -> Iterator[bytes]:
    """That many, in pieces."""
    for _, length in parts_of(size):
        yield ZEROS[:length]
