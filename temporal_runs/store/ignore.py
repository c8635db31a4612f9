"""What a project does not want kept: gitignore patterns in `.dominoignore` and `.runignore` of its root."""

import errno
import os
import stat

from pathspec import GitIgnoreSpec

from .errors import InvalidFolder
from .objects import digest
from .trees import text_of

FILES = (".dominoignore", ".runignore")
DEFAULT = ".git"
"""Not the project's files but their history elsewhere. `!.git` in an ignore file takes it in."""


class Ignore:
    """Decides by path. The first match in a folder ends it: nothing below an ignored folder is seen."""

    def __init__(self, lines: list[str]) -> None:
        patterns = [line for line in lines if valid(line)]
        self._text = "\n".join(patterns)
        self._spec = GitIgnoreSpec.from_lines([DEFAULT, *patterns]) if patterns else None

    @classmethod
    def of(cls, folder: int) -> "Ignore":
        """The ignore files of an open folder; a link or anything else that is no file counts as none.

        Raises `InvalidFolder` where one cannot be read.
        """
        try:
            return cls([line for name in FILES for line in lines_of(folder, name)])
        except OSError as error:
            raise InvalidFolder(f"cannot read the folder's ignore files: {error.strerror}") from error

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
            return path.rpartition(b"/")[2] == DEFAULT.encode()
        return self._spec.match_file(text_of(path) + ("/" if folder else ""))


def valid(line: str) -> bool:
    """Whether a line is a pattern that says something. git passes over the ones it cannot read, so do we."""
    if not line.strip() or line.startswith("#"):
        return False
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def lines_of(folder: int, name: str) -> list[str]:
    """The lines of a regular file in an open folder."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return []
        raise  # one that is there but cannot be read may hide secrets: never go on as if it were not
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return []
        return text_of(file.read()).splitlines()
