"""A tree in which some paths are what they were in another."""

from collections.abc import Sequence
from itertools import groupby

from .trees import Node, Trees
from .upload import Upload

Scion = tuple[Sequence[bytes], Node]
"""The names of a path, and what is to be there."""


def graft(trees: Trees, upload: Upload, folder: Node | None, scions: Sequence[Scion]) -> Node:
    """The folder with what is to be there; folders on the way are made, files in the way are replaced."""
    tree = dict(trees.load(folder)) if folder is not None and folder.kind == "d" else {}
    for name, group in groupby(sorted(scions, key=lambda scion: list(scion[0])), key=lambda scion: scion[0][0]):
        (names, node), *more = group
        if len(names) == 1:  # what is wanted of it besides is in it
            tree[name] = node
        else:
            below = [(rest[1:], one) for rest, one in [(names, node), *more]]
            tree[name] = graft(trees, upload, tree.get(name), below)
    return upload.folder(tree, folder.mtime_ns if folder is not None else scions[0][1].mtime_ns)
