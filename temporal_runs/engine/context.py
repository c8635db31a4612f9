"""What an image is built of, and how an engine is given it: a tar archive of the context, with the Dockerfile in it."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

from .dockerfile import Dockerfile

DOCKERFILE = ".temporal-runs/Dockerfile"
"""Where it is in the context, out of the way of the caller's own files."""

PIECE = 64 * 2**10


@dataclass(frozen=True)
class ContextFile:
    """A file, folder or link of a build's context; `path` in bytes, below the context. Owned by root in the image."""

    path: bytes
    kind: Literal["file", "folder", "link"]
    executable: bool = False
    size: int = 0
    link: bytes = b""
    content: Iterable[bytes] = ()

    @classmethod
    def of(cls, path: str, text: str) -> "ContextFile":
        """A file that holds a text."""
        data = text.encode()
        return cls(path.encode(), "file", size=len(data), content=[data])


@dataclass(frozen=True)
class Build:
    """What an image is made of. `bases`: for each base of the Dockerfile, the id of an image on the machine."""

    dockerfile: Dockerfile
    bases: Mapping[str, str]
    context: Iterable[ContextFile] = ()
    args: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """id → file that holds it; only BuildKit knows them"""
    cache: str | None = None
    """a tag in a registry whose layers BuildKit takes where they fit, and gives the image as well"""


def write_archive(build: Build, bases: Mapping[str, str], archive: IO[bytes]) -> None:
    """Writes a build's archive. `bases`: what each base is called there, so that no engine pulls one by itself."""
    dockerfile = ContextFile.of(DOCKERFILE, build.dockerfile.pinned(bases))
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for file in chain(build.context, [dockerfile]):
            entry = tarfile.TarInfo(file.path.decode(errors="surrogateescape"))
            entry.type = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}[file.kind]
            entry.mode = 0o755 if file.executable or file.kind == "folder" else 0o644
            entry.linkname = file.link.decode(errors="surrogateescape")
            entry.size = file.size
            tar.addfile(entry, io.BufferedReader(_Pieces(iter(file.content)), PIECE))
        end = tar.offset + 2 * tarfile.BLOCKSIZE
    # Without its padding: an engine reads no further than this, and looks only after the last byte of a request
    # whether its client is still there.
    archive.truncate(end)
    archive.seek(0)


class _Pieces(io.RawIOBase):
    """A file to be read, of a content that comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
