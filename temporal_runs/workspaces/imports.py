"""Folders of other projects that a command can read: mounted on empty folders among its own files."""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from temporal_runs.store import StoreError
from temporal_runs.store.descriptors import OPEN_FOLDER, opened

FOLDER = "imports"


class InTheWay(StoreError):
    """A project has something else where another's folder is to be mounted."""


@dataclass(frozen=True)
class Import:
    """A commit of another project, or a folder in it."""

    project: str
    commit: str
    path: str = ""

    @property
    def at(self) -> str:
        """Where it is mounted, below the command's own files: paths in it are the same whatever is imported of it."""
        return "/".join(filter(None, (FOLDER, self.project, self.path)))


def make_point(folder: Path, at: str, owner: tuple[int, int]) -> list[str]:
    """Makes a folder to mount something on, and those above it; gives the paths of those that were not there.

    No link is followed: whose files these are is not to be trusted. Raises InTheWay where the project has
    something else there.
    """
    made: list[str] = []
    path = ""
    with ExitStack() as above:
        descriptor = above.enter_context(opened(folder))
        for name in at.split("/"):
            path = f"{path}/{name}".lstrip("/")
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=descriptor)
                os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
                made.append(path)
            try:
                descriptor = above.enter_context(opened(name.encode(), descriptor, OPEN_FOLDER))
            except OSError:
                raise InTheWay(f"inputs: {at} is to be mounted, and {path} is not a folder: rename it") from None
    return made


def remove_points(folder: Path, made: list[str]) -> None:
    """Removes what `make_point` has made, the last first, as far as nothing else is in it."""
    for path in reversed(made):
        *above, last = path.split("/")
        with suppress(OSError), ExitStack() as stack:
            descriptor = stack.enter_context(opened(folder))
            for name in above:
                descriptor = stack.enter_context(opened(name.encode(), descriptor, OPEN_FOLDER))
            os.rmdir(last, dir_fd=descriptor)
