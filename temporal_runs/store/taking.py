"""Files on their way to become a version: all of a folder, or what an overlay's upper folder says has changed."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .contents import Contents
from .history import Record
from .ignore import Ignore, file_in
from .index import Index
from .intake import Intake, Progress
from .objects import Objects
from .packs import Packs
from .scan import Scan, open_folder
from .trees import Node, Trees
from .upload import Upload
from .upper import Adopt, UpperScan, is_there


@dataclass
class Taking:
    """One version's contents and trees: in place, on no version yet, when `upload` ends."""

    objects: Objects
    upload: Upload
    base: Record | None
    """What the files were made from."""
    progress: Progress | None

    def __post_init__(self) -> None:
        packs = Packs(self.objects)
        self.trees = Trees(packs)
        self._contents = Contents(self.objects, packs)
        self._intake = Intake(self.objects, self.upload, self.progress)

    @property
    def skipped(self) -> list[str]:
        """What a store cannot hold, as "path: why"."""
        return sorted(self._intake.skipped)

    def folder(self, folder: Path, index: Path | None) -> Node:
        """The tree of a whole folder; `index`, which is only read, is that of the base's checkout."""
        with open_folder(folder) as descriptor:
            ignore = Ignore.of(partial(file_in, descriptor))
            with Index(index, ignore.basis(self.base and self.base.commit.id)) as known:
                return self.scanned(descriptor, ignore, known)

    def scanned(self, descriptor: int, ignore: Ignore, index: Index) -> Node:
        """The same for an open folder; the index is told what is found."""
        scan = Scan(self.trees, self.upload, self._intake, ignore, index)
        return scan.folder(descriptor, self.base.root if self.base else None)

    def upper(self, folder: Path, adopt: Adopt) -> Node:
        """The tree of an overlay of a folder over the base. `adopt` is told each file that has changed."""
        assert self.base
        root = self.base.root
        below = self.trees.load(root)
        with open_folder(folder) as descriptor:

            def read(name: bytes) -> bytes:
                if is_there(descriptor, name):
                    return file_in(descriptor, name)
                node = below.get(name)
                return b"".join(self._contents.read(node)) if node and node.kind in ("f", "x") else b""

            scan = UpperScan(self.trees, self.upload, self._intake, Ignore.of(read), adopt)
            return scan.folder(descriptor, root)
