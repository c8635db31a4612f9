"""Folders as objects: one tree an object, named by its bytes, so that equal subtrees are never read twice.

A folder has two names. `tree` is the hash of its object, mtimes included, which makes every byte
verifiable. `hash` is that of what it holds without mtimes; only this one is compared in diff and merge,
so that a touched file is no change. Both are in the parent's object, which keeps the mtimes of each commit
without a second object a folder.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from .errors import StoreCorrupt
from .objects import Batch, Objects, checked, damaged, digest

Kind = Literal["f", "x", "l", "d"]
"""File, executable file, link, folder (directory)."""

MAX_DEPTH = 256
"""Folders within folders. Each level holds a descriptor and some stack while it is walked."""

HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Node:
    """What a name in a folder stands for."""

    kind: Kind
    hash: str
    """Of a file's content or of what a folder holds; a link's text (`os.fsdecode`d)."""
    size: int
    mtime_ns: int
    tree: str = ""
    """A folder's object."""

    def same(self, other: "Node | None") -> bool:
        """Whether both are the same file, link or folder, mtimes aside."""
        return other is not None and self.kind == other.kind and self.hash == other.hash


Tree: TypeAlias = dict[bytes, Node]


def tree_key(name: str) -> str:
    """Where a tree lives."""
    return f"t/{name[:2]}/{name}"


def encoded(tree: Tree) -> bytes:
    """The object of a tree: JSON, since a person may have to read it one day."""
    rows = [
        [text_of(name), node.kind, node.hash, node.size, node.mtime_ns, node.tree]
        for name, node in sorted(tree.items())
    ]
    return json.dumps({"entries": rows}, separators=(",", ":")).encode()


def content_hash(tree: Tree) -> str:
    """What a folder holds, as one name: everything but mtimes."""
    rows = [[text_of(name), node.kind, node.hash, node.size] for name, node in sorted(tree.items())]
    return digest(json.dumps(rows, separators=(",", ":")).encode())


def decoded(data: bytes, key: str) -> Tree:
    """The tree of an object. Nothing in it is trusted: it decides what is written to a disk."""
    try:
        rows = cast(list[list[Any]], json.loads(data)["entries"])
        tree = {bytes_of(row[0]): Node(row[1], row[2], row[3], row[4], row[5]) for row in rows}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreCorrupt(damaged(key)) from error
    if len(tree) != len(rows):
        raise StoreCorrupt(f"tree {key} holds a name twice.")
    for name, node in tree.items():
        if not safe_name(name):
            raise StoreCorrupt(f"tree {key} holds the name {name!r}, which no folder can hold. Refused.")
        if not sound(node):
            raise StoreCorrupt(f"tree {key} holds an entry {name!r} that no version of the store has written.")
    return tree


def safe_name(name: bytes) -> bool:
    """Whether a name stays in its folder."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name and len(name) <= 255


def sound(node: Node) -> bool:
    """Whether a decoded node is of the shape `encoded` writes; its hashes become part of keys."""
    values = (node.kind, node.hash, node.size, node.mtime_ns, node.tree)
    if [type(value) for value in values] != [str, str, int, int, str] or node.size < 0:
        return False
    match node.kind:
        case "f" | "x":
            return HASH.fullmatch(node.hash) is not None
        case "l":
            return 0 < len(node.hash) <= 4096 and "\0" not in node.hash
        case "d":
            return HASH.fullmatch(node.hash) is not None and HASH.fullmatch(node.tree) is not None
        case _:  # pyright: ignore[reportUnnecessaryComparison]
            return False


def text_of(name: bytes) -> str:
    """Bytes of a file system as JSON text, without loss."""
    return name.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes again."""
    return text.encode("utf-8", "surrogateescape")


class Trees:
    """The trees of a store."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def load(self, folder: Node | None) -> Tree:
        """What a folder holds, verified; nothing for None."""
        if folder is None:
            return {}
        key = tree_key(folder.tree)
        tree = decoded(checked(key, folder.tree, self._objects.get(key)), key)
        if content_hash(tree) != folder.hash:
            raise StoreCorrupt(damaged(key))
        return tree


def saved(batch: Batch, tree: Tree, mtime_ns: int, base: Node | None = None) -> Node:
    """The folder that holds `tree`: `base` if that holds the same, else a new object in the batch."""
    content = content_hash(tree)
    if base is not None and base.hash == content:
        return base
    data = encoded(tree)
    name = digest(data)
    batch.add(tree_key(name), data)
    return Node("d", content, 0, mtime_ns, name)
