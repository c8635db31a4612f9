"""What is to be deleted, put out of the way at once: deleting takes long, and slows down who creates files then."""

import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from temporal_runs.workspaces.rights import regain


class Trash:
    """A folder beside what is put into it: on the same file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, path: Path) -> None:
        """Takes a folder away; one that is not there is fine."""
        with suppress(FileNotFoundError):
            path.rename(self._folder / secrets.token_hex(8))

    def empty(self) -> None:
        """Deletes what has been put in."""
        for path in self._folder.iterdir():
            regain(path)
            shutil.rmtree(path, ignore_errors=True)
