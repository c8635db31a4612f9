"""What differs between two trees, by content: equal subtrees are skipped unread."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from .model import ChangeKind, Changes
from .trees import Node, Tree

Load: TypeAlias = Callable[[Node | None], Tree]


def walk(load: Load, folder: Node, path: bytes = b"") -> Iterator[tuple[bytes, Node]]:
    """Everything in a folder, each folder before what it holds."""
    for name, node in sorted(load(folder).items()):
        yield path + name, node
        if node.kind == "d":
            yield from walk(load, node, path + name + b"/")


def differences(
    load: Load, old: Node | None, new: Node | None, path: bytes = b""
) -> Iterator[tuple[bytes, ChangeKind, Node]]:
    """Files and links that differ, with the node that is new, or was deleted. Folders only through those."""
    before = load(old) if old is not None and old.kind == "d" else {}
    after = load(new) if new is not None and new.kind == "d" else {}
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name), after.get(name)
        if a is not None and a.same(b):
            continue
        where = path + name
        old_file = a if a is not None and a.kind != "d" else None
        new_file = b if b is not None and b.kind != "d" else None
        if new_file is not None:
            if not new_file.same(old_file):
                yield where, "changed" if old_file else "added", new_file
        elif old_file is not None:
            yield where, "deleted", old_file
        yield from differences(load, a if old_file is None else None, b if new_file is None else None, where + b"/")


def counted(load: Load, old: Node | None, new: Node) -> Changes:
    """The same as numbers."""
    counts: dict[ChangeKind, int] = {"added": 0, "changed": 0, "deleted": 0}
    size = 0
    for _, kind, node in differences(load, old, new):
        counts[kind] += 1
        size += 0 if kind == "deleted" else node.size
    return Changes(counts["added"], counts["changed"], counts["deleted"], size)
