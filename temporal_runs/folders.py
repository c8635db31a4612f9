"""This machine's folders of projects: what HOME remembers of each."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3


@dataclass(frozen=True)
class WorkingFolder:
    """A folder with files of a project, and the version from which on it was changed."""

    folder: Path
    project: str
    base: str

    @classmethod
    def of(cls, home: Path, folder: Path, project: str) -> "WorkingFolder | None":
        """What was remembered of a folder; None when it never held files of the project."""
        found = cls._read(record(home, folder))
        return found if found is not None and found.project == project else None

    @classmethod
    def all(cls, home: Path) -> "Iterator[WorkingFolder]":
        """All that are remembered."""
        return filter(None, map(cls._read, (home / "folders").glob("*.json")))

    def remember(self, home: Path) -> None:
        """Keeps it, whole or not at all."""
        path = record(home, self.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"folder": str(self.folder), "project": self.project, "base": self.base}))
        fresh.replace(path)

    @classmethod
    def _read(cls, path: Path) -> "WorkingFolder | None":
        try:
            said = json.loads(path.read_text())
            return cls(Path(said["folder"]), str(said["project"]), str(said["base"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def record(home: Path, folder: Path) -> Path:
    """Where it is kept what is remembered of a folder; beside it, `.index`, what the folder held."""
    return home / "folders" / f"{blake3(os.fsencode(folder)).hexdigest()}.json"
