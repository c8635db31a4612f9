"""What a project does not want kept: gitignore patterns in `.dominoignore` and `.runignore` of its root."""

import errno
import os
import stat
from collections.abc import Callable, Container
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from .errors import InvalidFolder
from .objects import digest
from .trees import Node, Tree, Trees, text_of
from .upload import Upload

FILES = (b".dominoignore", b".runignore")
UNFINISHED = ".runs-pulled"
"""How the name of a file ends that a pull is about to put in place; a pull that is killed leaves it."""
DEFAULTS = (".git", f".*{UNFINISHED}")
"""Not the project's files: their history elsewhere, and half files. `!.git` in an ignore file takes it in."""


class Ignore:
    """Decides by path. The first match in a folder ends it: nothing below an ignored folder is seen."""

    def __init__(self, lines: list[str]) -> None:
        patterns = [line for line in lines if valid(line)]
        self._text = "\n".join(patterns)
        self._spec = GitIgnoreSpec.from_lines([*DEFAULTS, *patterns]) if patterns else None

    @classmethod
    def of(cls, read: Callable[[bytes], bytes]) -> "Ignore":
        """The patterns of a root folder; `read` gives the content of a file in it, b"" where there is none."""
        return cls([line for name in FILES for line in text_of(read(name)).splitlines()])

    def basis(self, commit: str | None) -> str:
        """What an index is good for: a commit, seen through these patterns."""
        return digest(f"{commit}\n{self._text}".encode("utf-8", "surrogateescape")).hex()

    @property
    def patterns(self) -> bool:
        """Whether the project itself names anything."""
        return self._spec is not None

    def hides(self, path: bytes, *, folder: bool) -> bool:
        """Whether this path, below no ignored folder, is to be treated as not seen."""
        if self._spec is None:
            name = path.rpartition(b"/")[2]
            return name == b".git" or (name.startswith(b".") and name.endswith(UNFINISHED.encode()))
        return self._spec.match_file(text_of(path) + ("/" if folder else ""))


@dataclass(frozen=True)
class Unseen:
    """What a version keeps of the one before it because it is ignored: what is not seen is not deleted."""

    trees: Trees
    upload: Upload
    ignore: Ignore

    def kept(self, old: Tree, new: Container[bytes], path: bytes) -> Tree:
        """The ignored part of what a folder held and no longer holds."""
        gone = {name: self._hidden(path + name, node) for name, node in old.items() if name not in new}
        return {name: node for name, node in gone.items() if node}

    def _hidden(self, path: bytes, old: Node) -> Node | None:
        if self.ignore.hides(path, folder=old.kind == "d"):
            return old
        if old.kind != "d" or not self.ignore.patterns:
            return None
        below = self.kept(self.trees.load(old), (), path + b"/")
        return self.upload.folder(below, old.mtime_ns, old) if below else None


def valid(line: str) -> bool:
    """Whether a line is a pattern that says something. git passes over the ones it cannot read, so do we."""
    if not line.strip() or line.startswith("#"):
        return False
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def file_in(folder: int, name: bytes) -> bytes:
    """The content of a regular file in an open folder; a link, or anything else that is no file, counts as none.

    Raises `InvalidFolder` for one that cannot be read: it may hide secrets, so never go on as if it were not there.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return b""
        raise InvalidFolder(f"cannot read {text_of(name)}: {error.strerror}. Change its rights.") from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
