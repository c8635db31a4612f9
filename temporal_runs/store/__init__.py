"""A content-addressed store of projects' files, in a folder or any object store. It knows nothing of Runs."""

from .contents import content_name
from .errors import (
    InvalidFolder,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnknownPath,
    UnknownProject,
    UnknownRevision,
)
from .model import Change, Changes, Commit, Entry, Landed, OnConflict, Pushed
from .store import Store

__all__ = [
    "Change",
    "Changes",
    "Commit",
    "Entry",
    "InvalidFolder",
    "Landed",
    "OnConflict",
    "Pushed",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "UnknownPath",
    "UnknownProject",
    "UnknownRevision",
    "content_name",
]
