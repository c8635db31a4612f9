"""A folder that holds one version, and what was changed in it since, is made to hold another.

The one rule: what was changed in the folder is never overwritten unasked. Everything is reached through descriptors of
the folders above it, so that no link leads out of the folder.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .checkout import new_file, new_link, unfinished
from .contents import Contents, FileTarget, content_of, written
from .descriptors import OPEN_FOLDER, opened
from .errors import InvalidFolder, LocalChanges
from .intake import Progress
from .model import Updated, shown
from .objects import Objects
from .packs import Packs
from .scan import open_folder
from .trees import Node, Trees

NAMED = 5
"""Files that are named when an update is refused."""
TOGETHER = 1000
"""Files whose contents are fetched in one go."""

Step = tuple[bytes, Node]
"""A path, and what it is to be, or what it was."""


@dataclass
class Plan:
    """What is to be done to a folder. In this order: deletions, each folder after what is in it; then the rest."""

    deletions: list[Step] = field(default_factory=list[Step])
    folders: list[Step] = field(default_factory=list[Step])
    writes: list[Step] = field(default_factory=list[Step])
    changed: list[bytes] = field(default_factory=list[bytes])
    """What is neither as it was, nor as it is to be."""


class Update:
    """One folder being updated. `OSError` is the folder's own fault; the store's are `StoreError`."""

    def __init__(self, objects: Objects, progress: Progress | None) -> None:
        packs = Packs(objects)
        self._load = Trees(packs).load
        self._contents = Contents(objects, packs)
        self._progress = progress

    def into(self, folder: Path, old: Node | None, new: Node, *, force: bool, deletes: bool = True) -> Updated:
        """Changes what differs between the trees. Raises `LocalChanges`, and does nothing, unless `force`d, where
        that was changed in the folder as well. Without `deletes` it only adds and changes."""
        with open_folder(folder) as top:
            plan = Plan()
            self._plan(plan, top, b"", old, new)
            if not deletes:
                kept = {path for path, _ in plan.deletions}
                plan.changed = [path for path in plan.changed if path not in kept]
                plan.deletions = []
            if plan.changed and not force:
                names = ", ".join(map(shown, plan.changed[:NAMED]))
                more = f" and {len(plan.changed) - NAMED} more" if len(plan.changed) > NAMED else ""
                raise LocalChanges(
                    f"{names}{more} changed in {folder} and in the project: push the folder first "
                    "(`temporal-runs files push`), or overwrite them with --force"
                )
            way = Way(top)
            try:
                deleted = sum(way.delete(path, node) for path, node in plan.deletions)
                for path, _ in plan.folders:
                    way.make(path)
                self._write(way, plan.writes)
            finally:
                way.leave()
        return Updated(len(plan.writes), deleted, sum(node.size for _, node in plan.writes))

    def _plan(self, plan: Plan, here: int | None, path: bytes, old: Node | None, new: Node | None) -> None:
        """Notes what differs below a folder; `here` is None where it is not there."""
        before, after = self._load(old), self._load(new)
        for name in sorted(before.keys() | after.keys()):
            was, will = before.get(name), after.get(name)
            if was is not None and was.same(will):
                continue
            where = path + name
            if was and will and was.kind == will.kind == "d" and found_at(here, name) is None:
                # Deleted here: it comes back only for what is new in it.
                folders, writes = len(plan.folders), len(plan.writes)
                self._plan(plan, None, where + b"/", was, will)
                if len(plan.folders) > folders or len(plan.writes) > writes:
                    plan.folders.insert(folders, (where, will))
                continue
            is_done = holds(here, name, will)
            if not is_done and not holds(here, name, was):
                plan.changed.append(where)
            if not is_done and will is not None:
                (plan.folders if will.kind == "d" else plan.writes).append((where, will))
            inner = [side if side is not None and side.kind == "d" else None for side in (was, will)]
            if any(inner):
                with folder_in(here, name) as child:
                    self._plan(plan, child, where + b"/", *inner)
            if not is_done and was is not None and (will is None or "d" in (was.kind, will.kind)):
                plan.deletions.append((where, was))

    def _write(self, way: "Way", writes: list[Step]) -> None:
        done = size = 0
        for start in range(0, len(writes), TOGETHER):
            some = writes[start : start + TOGETHER]
            packed: dict[bytes, list[Step]] = {}
            for path, node in some:
                if node.kind != "l" and node.pack:
                    packed.setdefault(node.hash, []).append((path, node))
                else:
                    way.write(path, node, lambda file, node=node: self._content(file, node))
            for content, data in self._contents.packed(same[0][1] for same in packed.values()):
                for path, node in packed[content]:
                    way.write(path, node, lambda file, data=data: written(file, data, 0))
            done += len(some)
            size += sum(node.size for _, node in some)
            if self._progress is not None:
                self._progress(done, size)

    def _content(self, file: int, node: Node) -> None:
        os.ftruncate(file, node.size)
        self._contents.write(node, FileTarget(file), lambda _: None)


class Way:
    """To paths below an open folder, links unfollowed. Remembers the folder it was in last."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._path = b""
        self._descriptor: int | None = None

    def delete(self, path: bytes, node: Node) -> bool:
        """Takes away a file, or a folder if it is empty; whether it was a file that was there."""
        with suppress(OSError, InvalidFolder):
            folder, name = self._above(path)
            if node.kind == "d":
                os.rmdir(name, dir_fd=folder)
                return False
            os.unlink(name, dir_fd=folder)
            return True
        return False

    def make(self, path: bytes) -> None:
        """Makes a folder, in place of a file if need be."""
        folder, name = self._above(path)
        found = found_at(folder, name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            return
        if found is not None and stat.S_ISLNK(found.st_mode):
            raise InvalidFolder(f"what is in {shown(path)} would be written through a link: remove the link")
        if found is not None:
            os.unlink(name, dir_fd=folder)
        os.mkdir(name, dir_fd=folder)

    def write(self, path: bytes, node: Node, fill: Callable[[int], None]) -> None:
        """Puts a file or link in place, whole or not at all."""
        folder, name = self._above(path)
        try:
            if node.kind == "l":
                new_link(folder, name, node)
            else:
                with new_file(folder, name, node) as file:
                    fill(file)
        except IsADirectoryError:
            os.unlink(unfinished(name), dir_fd=folder)
            raise InvalidFolder(f"{shown(path)} is a file of the project, and a folder here: rename it") from None

    def leave(self) -> None:
        """Nothing may be asked for afterwards."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _above(self, path: bytes) -> tuple[int, bytes]:
        """The open folder of a path, and the name in it."""
        above, _, name = path.rpartition(b"/")
        if self._descriptor is None or above != self._path:
            self.leave()
            self._descriptor = self._opened(above)
            self._path = above
        return self._descriptor, name

    def _opened(self, path: bytes) -> int:
        descriptor = os.dup(self._top)
        for name in path.split(b"/") if path else ():
            try:
                below = os.open(name, OPEN_FOLDER, dir_fd=descriptor)
            except OSError as error:
                raise InvalidFolder(f"{shown(path)} is no folder here: rename what is there") from error
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


def found_at(folder: int | None, name: bytes) -> os.stat_result | None:
    """What has this name in an open folder."""
    if folder is None:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def holds(folder: int | None, name: bytes, node: Node | None) -> bool:
    """Whether an open folder holds exactly this under the name; None: nothing. Of a folder, only that it is one."""
    found = found_at(folder, name)
    if found is None or node is None or folder is None:
        return found is None and node is None
    match node.kind:
        case "d":
            return stat.S_ISDIR(found.st_mode)
        case "l":
            return stat.S_ISLNK(found.st_mode) and os.readlink(name, dir_fd=folder) == node.hash
        case "f" | "x":
            alike = stat.S_ISREG(found.st_mode) and found.st_size == node.size
            executable = bool(found.st_mode & 0o111)
            if not alike or executable != (node.kind == "x"):
                return False
            with opened(name, folder) as file:
                return content_of(file) == node.hash


@contextmanager
def folder_in(above: int | None, name: bytes) -> Generator[int | None]:
    """A descriptor of a folder in an open folder; None where there is none, or a link."""
    if above is None:
        yield None
        return
    try:
        descriptor = os.open(name, OPEN_FOLDER, dir_fd=above)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
