"""What a checkout's files looked like when they were written, so that unchanged ones cost a stat, not a hash."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .errors import StoreCorrupt
from .trees import bytes_of, text_of

RACY_NS = 2_000_000_000
"""A file changed this close to the newest of the index may change again within one tick of the clock."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file's stat, and the hash it had then."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    hash: str

    @classmethod
    def of(cls, stat: os.stat_result, name: str) -> Self:
        """The stamp of a file with that content."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, name)


@dataclass
class Index:
    """The stat table of one checkout. An empty one is always right: everything is hashed again."""

    stamps: dict[bytes, Stamp] = field(default_factory=dict[bytes, Stamp])

    def __post_init__(self) -> None:
        # The newest ctime is the file system's own time of the index's making: no clock of ours to trust.
        self._made_ns = max((stamp.ctime_ns for stamp in self.stamps.values()), default=0)

    def unchanged(self, path: bytes, stat: os.stat_result) -> str | None:
        """The hash of a file that is as it was, None if it has to be read to tell."""
        stamp = self.stamps.get(path)
        if stamp is None or stamp.ctime_ns > self._made_ns - RACY_NS:
            return None
        return stamp.hash if stamp == Stamp.of(stat, stamp.hash) else None

    def save(self, path: Path) -> None:
        """Writes it as JSON lines, whole or not at all."""
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w", encoding="ascii") as file:
            for name, stamp in self.stamps.items():
                row = (text_of(name), stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode, stamp.hash)
                file.write(json.dumps(row) + "\n")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The saved index. `OSError` where there is none, `StoreCorrupt` where it cannot be understood."""
        stamps: dict[bytes, Stamp] = {}
        with path.open(encoding="ascii") as file:
            try:
                for line in file:
                    name, *stamp = json.loads(line)
                    stamps[bytes_of(name)] = Stamp(*stamp)
            except (ValueError, TypeError) as error:
                raise StoreCorrupt(f"the index {path} cannot be read: remove it, all files are then hashed") from error
        return cls(stamps)
