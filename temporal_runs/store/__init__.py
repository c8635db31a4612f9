"""A content-addressed store of projects' files, in a folder or any object store. It knows nothing of Runs."""

from .errors import (
    InvalidFolder,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnknownProject,
    UnknownRevision,
)
from .index import Index
from .model import Change, Changes, Commit, Entry, Landed, Pushed
from .store import Store

__all__ = [
    "Change",
    "Changes",
    "Commit",
    "Entry",
    "Index",
    "InvalidFolder",
    "Landed",
    "Pushed",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "UnknownProject",
    "UnknownRevision",
]
