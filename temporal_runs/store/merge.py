"""Three-way merge of trees: what only one side changed is taken, what both changed loses neither.

Pure: it sees folders through `load` and `save` only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .diff import Load
from .model import shown
from .trees import Node, Tree

Save = Callable[[Tree, int], Node]


@dataclass
class Merge:
    """One merge. `ours` is what lands, `theirs` what is on the ref by now.

    With `beside` (bytes to name a copy with) `theirs` keeps its name in a conflict and ours lands beside
    it; a deletion gives way to a change. With None ours wins.
    """

    load: Load
    save: Save
    beside: bytes | None
    conflicts: list[str] = field(default_factory=list[str])

    def folders(self, base: Node | None, ours: Node, theirs: Node) -> Node:
        """The merged folder."""
        return self._saved(self._merged(base, ours, theirs, b""), ours, theirs)

    def _merged(self, base: Node | None, ours: Node | None, theirs: Node | None, path: bytes) -> Tree:
        """What the merged folder holds; a side that is None, or no folder, counts as an empty one."""
        before, mine, other = (self._tree(side) for side in (base, ours, theirs))
        taken = before.keys() | mine.keys() | other.keys()
        merged: Tree = {}
        for name in sorted(taken):
            b, o, t = before.get(name), mine.get(name), other.get(name)
            kept = self._entry(b, o, t, path + name)
            if kept is not None:
                merged[name] = kept
            if self.beside is not None and o is not None and conflicting(b, o, t):
                merged[free_name(name, self.beside, taken | merged.keys())] = o
        return merged

    def _entry(self, base: Node | None, ours: Node | None, theirs: Node | None, path: bytes) -> Node | None:
        """What has this name afterwards."""
        if same(ours, theirs) or same(ours, base):
            return theirs
        if same(theirs, base):
            return ours
        folders = [side for side in (ours, theirs) if side is not None and side.kind == "d"]
        if len(folders) == 2:
            return self._saved(self._merged(base, ours, theirs, path + b"/"), *folders)
        if folders and (ours is None or theirs is None) and base is not None and base.kind == "d":
            # One side deleted a folder in which the other changed something: file by file.
            left = self._merged(base, ours, theirs, path + b"/")
            return self._saved(left, *folders) if left else None
        self.conflicts.append(shown(path))
        if self.beside is None:
            return ours
        return theirs if theirs is not None else ours

    def _tree(self, side: Node | None) -> Tree:
        return self.load(side) if side is not None and side.kind == "d" else {}

    def _saved(self, tree: Tree, *sides: Node) -> Node:
        return self.save(tree, max(side.mtime_ns for side in sides))


def same(a: Node | None, b: Node | None) -> bool:
    """Whether both are absent, or hold the same."""
    return b is None if a is None else a.same(b)


def conflicting(base: Node | None, ours: Node, theirs: Node | None) -> bool:
    """Whether both sides hold something else under this name, and cannot be merged within it."""
    if theirs is None or same(ours, theirs) or same(ours, base) or same(theirs, base):
        return False
    return not ours.kind == theirs.kind == "d"


def free_name(name: bytes, beside: bytes, taken: set[bytes]) -> bytes:
    """`<name>.conflict-<beside>`, cut to what a file system takes, numbered while something has it."""
    number = 1
    while True:
        ending = b".conflict-" + beside + (b"-%d" % number if number > 1 else b"")
        candidate = name[: 255 - len(ending)] + ending
        if candidate not in taken:
            return candidate
        number += 1
