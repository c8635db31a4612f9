"""What a project may hold at most: looked at before anything is sent, and not at all where nothing is."""

import os
from dataclasses import dataclass, field

from .descriptors import OPEN_FOLDER
from .errors import OverLimit
from .ignore import Ignore
from .model import shown


@dataclass(frozen=True)
class Limits:
    """Numbers of files and of bytes; None is no limit."""

    files: int | None = None
    file_size: int | None = None
    total: int | None = None

    def check(self, folder: int, ignore: Ignore) -> None:
        """Raises `OverLimit` for an open folder that is beyond a limit."""
        if (self.files, self.file_size, self.total) == (None, None, None):
            return
        found = _Found(self, ignore)
        found.add(folder, b"")
        if self.files is not None and found.files > self.files:
            raise OverLimit(f"{found.files:,} files, and the project's limit is {self.files:,}. {ADVICE}")
        if self.total is not None and found.total > self.total:
            raise OverLimit(f"{found.total:,} bytes, and the project's limit is {self.total:,}. {ADVICE}")


ADVICE = "Name what it does not need in .runignore, or raise the limit (`temporal-runs files settings`)."


@dataclass
class _Found:
    limits: Limits
    ignore: Ignore
    files: int = field(default=0)
    total: int = field(default=0)

    def add(self, folder: int, path: bytes) -> None:
        with os.scandir(folder) as entries:
            found = list(entries)
        for entry in found:
            name = os.fsencode(entry.name)
            if self.ignore.hides(path + name, folder=entry.is_dir(follow_symlinks=False)):
                continue
            if entry.is_dir(follow_symlinks=False):
                child = os.open(entry.name, OPEN_FOLDER, dir_fd=folder)
                try:
                    self.add(child, path + name + b"/")
                finally:
                    os.close(child)
            elif entry.is_file(follow_symlinks=False):
                self._file(path + name, entry.stat(follow_symlinks=False).st_size)

    def _file(self, path: bytes, size: int) -> None:
        most = self.limits.file_size
        if most is not None and size > most:
            raise OverLimit(f"{shown(path)} has {size:,} bytes, and the project's limit is {most:,}. {ADVICE}")
        self.files += 1
        self.total += size
