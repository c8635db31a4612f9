"""What a folder held when it was last looked at, so that what is unchanged costs a stat, and memory for one folder.

A file of frames, one a folder, each after those of the folders in it: the order in which a scan is done with them.
While nothing differs nothing is written; from the first difference on a new index is, and takes the old one's place.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from .objects import digest
from .trees import NAME_BYTES, Node

HEADER = b"temporal-runs index 2\n"
RACY_NS = 2_000_000_000
"""A file changed this close to when it was looked at may change again within one tick of the clock."""

COPIED = 1024 * 1024
"""Bytes of an old index that are copied at a time."""

Row = tuple[int, int, int, int, int]
"""Mode, size, mtime_ns, ctime_ns and inode."""
CTIME = 3

_encoder = msgspec.msgpack.Encoder()
_rows = msgspec.msgpack.Decoder(list[Row])
_nodes = msgspec.msgpack.Decoder(list[Node | None])


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A folder as it was."""

    path: bytes
    names: bytes
    """Of everything in it, in the order the folder gives them, apart by a zero."""
    rows: bytes
    """Encoded, since they are mostly compared as they are."""
    nodes: msgspec.Raw
    """What each name was taken in as; nil for what was not."""
    node: Node
    """The folder itself."""
    skipped: list[str]

    @classmethod
    def of(
        cls,
        path: bytes,
        names: Sequence[str],
        rows: list[Row],
        nodes: list[Node | None],
        node: Node,
        skipped: list[str],
        settled: int,
    ) -> Self:
        """The frame of a folder. What changed before `settled`, in ns, is known to have changed no more when its row
        was taken; else it is looked at again."""
        # A ctime of 0 matches no file.
        safe = [row if row[CTIME] < settled else (*row[:CTIME], 0, row[4]) for row in rows]
        packed = msgspec.Raw(msgspec.msgpack.encode(nodes))
        return cls(path, joined(names), encoded(safe), packed, node, skipped)

    def entries(self) -> dict[bytes, tuple[Row, Node | None]]:
        """Row and node by name."""
        names = self.names.split(b"\0") if self.names else []
        return dict(zip(names, zip(_rows.decode(self.rows), _nodes.decode(self.nodes), strict=True), strict=True))


def joined(names: Sequence[str]) -> bytes:
    """Names as a frame keeps them."""
    return os.fsencode("\0".join(names))


def encoded(rows: list[Row]) -> bytes:
    """Rows as a frame keeps them."""
    return _encoder.encode(rows)


class Index:
    """The index in a file. One that is missing, damaged, or of another basis is an empty one: all is read again.

    Without a path nothing is remembered. `with` drops what was written, unless `save` was called.
    """

    def __init__(self, path: Path | None, basis: str) -> None:
        self._path = path
        self._basis = basis
        self._file = opened(path, basis) if path else None
        self._frames = frames(self._file) if self._file else iter(())
        self._next: tuple[int, Frame] | None = next(self._frames, None)
        self._new: IO[bytes] | None = None

    def at(self, path: bytes) -> Frame | None:
        """The frame of a folder. Folders have to be asked for in the order of the frames."""
        here = order(path)
        while self._next is not None and order(self._next[1].path) < here:
            self._begin()
            self._next = next(self._frames, None)
        if self._next is None or self._next[1].path != path:
            return None
        return self._next[1]

    def keep(self, frame: Frame) -> None:
        """Says that a frame `at` gave still holds."""
        if self._new is not None:
            append(self._new, frame)
        self._next = next(self._frames, None)

    def write(self, frame: Frame) -> None:
        """Says what a folder is now."""
        if self._path is None:
            return
        self._begin()
        assert self._new is not None
        append(self._new, frame)
        if self._next is not None and self._next[1].path == frame.path:
            self._next = next(self._frames, None)

    def save(self, basis: str) -> None:
        """Puts what was written in place of the old index, as one of that basis."""
        if self._path is None:
            return
        if self._next is not None or self._file is None or basis != self._basis:
            self._begin()
        if self._new is None:
            return
        self._new.seek(0)
        self._new.write(header(basis))
        self._new.close()
        self._draft.replace(self._path)
        self._new = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._new is not None:
            self._new.close()
            self._draft.unlink(missing_ok=True)

    @property
    def _draft(self) -> Path:
        assert self._path
        return self._path.with_name(f"{self._path.name}.{os.getpid()}.new")

    def _begin(self) -> None:
        """The new index, which begins like the old one as far as that holds."""
        if self._new is not None or self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._new = self._draft.open("wb")
        self._new.write(header(""))
        if self._file is None:
            return
        here = self._file.tell()
        end = self._next[0] if self._next is not None else here
        self._file.seek(len(header("")))
        while (left := end - self._file.tell()) > 0:
            self._new.write(self._file.read(min(left, COPIED)))
        self._file.seek(here)


def header(basis: str) -> bytes:
    """How an index begins: what it is, and which version of a project's files it belongs to."""
    return HEADER + basis.encode().ljust(64)[:64]


def opened(path: Path, basis: str) -> IO[bytes] | None:
    """The file of an index, if it is one of that basis."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if file.read(len(header(basis))) == header(basis):
        return file
    file.close()
    return None


def frames(file: IO[bytes]) -> Iterator[tuple[int, Frame]]:
    """Each frame with where it begins; ends early where the file is damaged, since an index is only a help."""
    decoder = msgspec.msgpack.Decoder(Frame)
    while True:
        start = file.tell()
        length, name = int.from_bytes(file.read(4), "little"), file.read(NAME_BYTES)
        data = file.read(length)
        if not length or digest(data) != name:
            return
        yield start, decoder.decode(data)


def append(file: IO[bytes], frame: Frame) -> None:
    """Writes a frame behind the others."""
    data = msgspec.msgpack.encode(frame)
    file.write(len(data).to_bytes(4, "little") + digest(data) + data)


def order(path: bytes) -> list[bytes]:
    """What sorts folders like a scan: by name, and each after those in it."""
    return [*path.split(b"/")[:-1], b"\xff" * 256]
