"""What the store gives back: small frozen records, free of anything that needs I/O."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

EntryKind = Literal["file", "link", "folder"]
ChangeKind = Literal["added", "changed", "deleted"]
OnConflict = Literal["keep_both", "branch", "last_wins"]
"""What becomes of a file that both sides changed: ours lands beside it, all of ours on a branch, or ours wins."""


@dataclass(frozen=True)
class Commit:
    """One version of a project's files."""

    id: str
    """BLAKE3 of the commit's own bytes, which hold a nonce: two commits never share an id."""
    tree: str
    """Id of the root folder's tree object."""
    parents: tuple[str, ...]
    """None for a first push, one for a version, two for a merge (what was there, then what landed)."""
    author: str
    message: str
    origin: str
    """Opaque key of whoever made it, "" for a person's push. One origin lands once on a ref."""
    at: datetime


@dataclass(frozen=True)
class Entry:
    """A file, link or folder of a commit."""

    path: bytes
    """Relative to the project's root, names apart by `/`. Bytes, since a name need not be UTF-8."""
    kind: EntryKind
    size: int
    """Bytes of a file or of a link's text, 0 for a folder."""
    executable: bool
    hash: str
    """BLAKE3 of a file's content, or of what a folder holds; "" for a link."""
    link: bytes
    """A link's text, b"" for anything else."""
    mtime_ns: int


@dataclass(frozen=True)
class Changes:
    """How many files and links a version added, changed and deleted."""

    added: int
    changed: int
    deleted: int
    bytes: int
    """Size of what was added and changed."""


@dataclass(frozen=True)
class Landed:
    """A version that is part of a ref now."""

    commit: str
    """The commit of the ref that holds the result."""
    changes: Changes
    """From the base to the version, whatever else the ref held."""
    conflicts: list[str]
    """Paths both sides changed in different ways. See `shown` for how odd names are written."""
    skipped: list[str]
    """What a store cannot hold, as "path: why"."""
    ref: str = "main"
    """Where it is."""


@dataclass(frozen=True)
class Pushed:
    """A pushed folder: the snapshot itself, and how it landed on main."""

    version: str
    """Commit of exactly the pushed files: the base of the next push from this folder."""
    landed: Landed


@dataclass(frozen=True)
class Updated:
    """What an update did to a folder."""

    written: int
    deleted: int
    bytes: int
    """Size of what was written."""


@dataclass(frozen=True)
class Change:
    """One path that differs between two commits."""

    path: str
    kind: ChangeKind
    size: int
    """Of the new content, or of what was deleted."""


def shown(path: bytes) -> str:
    r"""A path as text that any terminal, JSON or log can carry: bytes that are not UTF-8 become `\xff`."""
    return path.decode("utf-8", "backslashreplace")
