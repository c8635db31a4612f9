"""This machine's folders of projects: which version a folder was made from, and how a newer one is brought into it.

The one rule: a file that was changed here since that version is never overwritten unasked.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from temporal_runs.cli.exits import UsageProblem
from temporal_runs.settings import Settings
from temporal_runs.store import Entry, InvalidFolder, Store, content_name
from temporal_runs.store.model import shown

NAMED = 5
"""Files that are named when a pull is refused."""


@dataclass(frozen=True)
class Link:
    """What HOME remembers of a folder: whose files it holds, and from which version on it was changed."""

    folder: Path
    project: str
    base: str

    @staticmethod
    def path(settings: Settings, folder: Path) -> Path:
        """Where it is kept."""
        return settings.home / "folders" / f"{blake3(os.fsencode(folder)).hexdigest()}.json"

    @classmethod
    def index_path(cls, settings: Settings, folder: Path) -> Path:
        """Where the store keeps what the folder held when it was pushed last."""
        return cls.path(settings, folder).with_suffix(".index")

    @classmethod
    def base_of(cls, settings: Settings, folder: Path, project: str) -> str | None:
        """The version this folder was last pushed as, or pulled from; None when it never was."""
        try:
            said = json.loads(cls.path(settings, folder).read_text())
            return str(said["base"]) if said["project"] == project else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, settings: Settings) -> None:
        """Keeps it, whole or not at all."""
        path = self.path(settings, self.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"folder": str(self.folder), "project": self.project, "base": self.base}))
        fresh.replace(path)


@dataclass(frozen=True)
class Pulled:
    """What a pull did to a folder."""

    commit: str
    written: int
    deleted: int
    bytes: int


def pull(store: Store, settings: Settings, project: str, folder: Path, commit: str, *, force: bool = False) -> Pulled:
    """Makes a folder hold the files of a commit; raises UsageProblem where that would overwrite work of here."""
    base = Link.base_of(settings, folder, project)
    before = _files(store, project, base) if base else {}
    after = _files(store, project, commit)
    moves = [path for path in before.keys() | after.keys() if not _same(before.get(path), after.get(path))]
    moves = sorted(path for path in moves if not _holds(folder, path, after.get(path)))
    ours = [path for path in moves if not _holds(folder, path, before.get(path))]
    if ours and not force:
        names = ", ".join(shown(path) for path in ours[:NAMED])
        more = f" and {len(ours) - NAMED} more" if len(ours) > NAMED else ""
        raise UsageProblem(
            f"{names}{more} changed in {folder} and in the project: push the folder first "
            "(`temporal-runs files push`), or overwrite them with --force"
        )
    deleted = [path for path in moves if path not in after]
    for path in deleted:
        _remove(folder, path)
    written = [after[path] for path in moves if path in after]
    for entry in written:
        _write(folder, entry, iter(()) if entry.kind == "link" else store.read(project, commit, _text(entry.path)))
    Link(folder, project, commit).save(settings)
    return Pulled(commit, len(written), len(deleted), sum(entry.size for entry in written))


def _text(path: bytes) -> str:
    """A path as the store takes it: what is not UTF-8 comes through unharmed."""
    return path.decode("utf-8", "surrogateescape")


def _files(store: Store, project: str, commit: str) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in store.entries(project, commit) if entry.kind != "folder"}


def _same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.kind, one.hash, one.link, one.executable) == (
        other.kind,
        other.hash,
        other.link,
        other.executable,
    )


def _holds(folder: Path, path: bytes, entry: Entry | None) -> bool:
    """Whether the folder holds exactly this file or link under the path; None: nothing."""
    place = _place(folder, path)
    if place is None:
        return False
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return entry is None
    if entry is None:
        return False
    if entry.kind == "link":
        return stat.S_ISLNK(found.st_mode) and os.fsencode(place.readlink()) == entry.link
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
        return False
    if bool(found.st_mode & 0o111) != entry.executable:
        return False
    return content_name(place) == entry.hash


def _place(folder: Path, path: bytes) -> Path | None:
    """Where a path is in the folder; None when a link on the way would lead out of it."""
    place = folder / os.fsdecode(path)
    above = place.parent
    while above != folder:
        if above.is_symlink():
            return None
        above = above.parent
    return place


def _remove(folder: Path, path: bytes) -> None:
    place = _inside(folder, path)
    place.unlink(missing_ok=True)
    above = place.parent
    while above != folder and not any(above.iterdir()):
        above.rmdir()
        above = above.parent


def _write(folder: Path, entry: Entry, content: Iterator[bytes]) -> None:
    """Puts a file in place, whole or not at all."""
    place = _inside(folder, entry.path)
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name[:200]}.pulled")
    fresh.unlink(missing_ok=True)
    if entry.kind == "link":
        fresh.symlink_to(os.fsdecode(entry.link))
    else:
        with fresh.open("wb") as file:
            file.writelines(content)
        fresh.chmod(0o755 if entry.executable else 0o644)
        os.utime(fresh, ns=(entry.mtime_ns, entry.mtime_ns))
    fresh.replace(place)


def _inside(folder: Path, path: bytes) -> Path:
    place = _place(folder, path)
    if place is None:
        raise InvalidFolder(f"{folder}: {shown(path)} would be written through a link: remove the link")
    return place
