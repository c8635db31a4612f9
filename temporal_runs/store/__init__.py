"""A content-addressed store of projects' files, in a folder or any object store. It knows nothing of Runs."""

from .errors import (
    InvalidFolder,
    LocalChanges,
    OverLimit,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnknownPath,
    UnknownProject,
    UnknownRevision,
)
from .limits import Limits
from .model import Change, Changes, Commit, Entry, Landed, OnConflict, Pushed, Updated
from .store import Store
from .sweep import Swept
from .verify import Damage

__all__ = [
    "Change",
    "Changes",
    "Commit",
    "Damage",
    "Entry",
    "InvalidFolder",
    "Landed",
    "Limits",
    "LocalChanges",
    "OnConflict",
    "OverLimit",
    "Pushed",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "Swept",
    "UnknownPath",
    "UnknownProject",
    "UnknownRevision",
    "Updated",
]
