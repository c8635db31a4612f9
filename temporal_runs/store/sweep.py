"""Clearing away what no version refers to: the remains of pushes that were killed, and of races that were lost.

Safe beside everything else. What is younger than `GRACE` is left alone, since it may be about to be referred to; what
is found to be needed again becomes young. A commit that a ref leads to keeps all of its history.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from .contents import Contents, blob_key
from .history import History, Record
from .objects import Objects
from .packs import Packs, pack_key
from .trees import Node, Trees

GRACE = timedelta(hours=24)
"""How long a push may take from its first object to its commit."""


@dataclass(frozen=True)
class Swept:
    """What was, or would be, cleared away."""

    objects: int
    bytes: int


def sweep(objects: Objects, *, dry_run: bool) -> Swept:
    """Removes what is old and not needed. Raises `StoreCorrupt`, and removes nothing, where something is missing.

    Commits go first: one that is still there has all of its files.
    """
    before = datetime.now(UTC) - GRACE
    # Listed before the refs are read: what is referred to from now on was there already, or is young.
    old = {one.key: one.size for folder in ("v", "p", "b") for one in objects.stored(folder) if one.at < before}
    needed = Needed(objects)
    for project in {*objects.folders("refs"), *objects.folders("v")}:
        history = History(objects, project)
        young = [key.rpartition("/")[2] for key in objects.keys(f"v/{project}") if key not in old]
        at_refs = [ref.commit for ref in map(history.ref, history.refs()) if ref]
        for record in history.lineage({*young, *at_refs}):
            needed.version(history, record)
    surplus = [key for key in old if key not in needed.keys]
    if dry_run:
        return Swept(len(surplus), sum(old[key] for key in surplus))
    removed: list[str] = []

    def remove(key: str) -> None:
        if objects.remove_old(key, before):
            removed.append(key)

    objects.each(remove, [key for key in surplus if key.startswith("v/")])
    objects.each(remove, [key for key in surplus if not key.startswith("v/")])
    return Swept(len(removed), sum(old[key] for key in removed))


@dataclass
class Needed:
    """Keys of all that versions consist of."""

    objects: Objects
    keys: set[str] = field(default_factory=set[str])
    _trees: set[bytes] = field(default_factory=set[bytes])

    def __post_init__(self) -> None:
        packs = Packs(self.objects)
        self._load = Trees(packs).load
        self._contents = Contents(self.objects, packs)

    def version(self, history: History, record: Record) -> None:
        """Adds a version of a project."""
        self.keys.add(history.key(record.commit.id))
        self._folder(record.root)

    def _folder(self, folder: Node) -> None:
        self.keys.add(pack_key(folder.pack))
        if folder.tree in self._trees:
            return
        self._trees.add(folder.tree)
        for node in self._load(folder).values():
            if node.kind == "d":
                self._folder(node)
            elif node.pack:
                self.keys.add(pack_key(node.pack))
            elif node.kind != "l" and (key := blob_key(node.hash)) not in self.keys:
                self.keys.add(key)
                self.keys.update(blob_key(piece.name) for piece in self._contents.pieces(node))
