"""A version becomes part of a ref: at once if nothing else happened, else merged, as often as it takes."""

import random
import time
from dataclasses import dataclass, replace

from .errors import StoreUnavailable
from .history import History, Record
from .merge import Merge
from .model import Landed
from .objects import Objects
from .packs import Packs
from .trees import Trees
from .upload import Upload


class Conflicting(Exception):
    """Both sides changed these paths in different ways, and that was not to be settled."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__(f"{len(paths)} conflicts")
        self.paths = paths


PATIENCE = 60.0
"""Seconds of losing every race after which something else must be wrong."""


@dataclass
class Landing:
    """One version on its way to a ref."""

    objects: Objects
    history: History
    ref: str
    settles: bool = True
    """Whether a conflict is settled; else it raises `Conflicting`, and nothing has landed."""

    def of_origin(self, origin: str, base: Record) -> Landed | None:
        """What an earlier attempt of the same origin landed, looking back to its base."""
        head = self.history.ref(self.ref)
        if head is None or not origin:
            return None
        found = [r for r in self.history.walk(head.commit, base.generation) if r.commit.origin == origin]
        # A merge and the version it brought in are both of the origin; the merge is what was told.
        return self._landed(max(found, key=lambda record: len(record.commit.parents))) if found else None

    def land(self, version: Record, base: Record | None, beside: bytes | None) -> Landed:
        """Moves the ref to the version, or to a merge of it with what the ref holds by now. `beside` is `Merge`'s."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.005
        made: set[str] = set()
        while True:
            ref = self.history.ref(self.ref)
            head = self.history.reach(ref.commit) if ref else None
            if head is not None and made and (done := self._among(made, head, version)) is not None:
                return done
            if base is not None and (done := self.of_origin(version.commit.origin, base)) is not None:
                return done
            if head is None or (base is not None and head.commit.id == base.commit.id):
                new = version
            else:
                new = self._merged(base, version, head, beside)
            made.add(new.commit.id)
            if self.history.move(self.ref, ref, new.commit.id):
                return self._landed(new)
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"{self.ref} was moved by others each time in {PATIENCE:.0f} s. Try again later."
                )
            time.sleep(random.uniform(0, pause))  # noqa: S311
            pause = min(pause * 2, 0.5)

    def _among(self, made: set[str], head: Record, version: Record) -> Landed | None:
        """A swap that was answered with a refusal may still have been ours: the transport retries by itself."""
        above = version.generation - 1
        return next((self._landed(r) for r in self.history.walk(head.commit.id, above) if r.commit.id in made), None)

    def _merged(self, base: Record | None, version: Record, head: Record, beside: bytes | None) -> Record:
        trees = Trees(Packs(self.objects))
        with Upload(self.objects) as upload:
            merge = Merge(trees.load, upload.folder, beside)
            root = merge.folders(base.root if base else None, version.root, head.root)
            if merge.conflicts and not self.settles:
                raise Conflicting(merge.conflicts)
        # Without a base nobody can say that the other side changed anything.
        told = Landed("", version.changes, merge.conflicts if base else [], version.skipped)
        return self.history.make(
            root,
            [head, version],
            author=version.commit.author,
            message=version.commit.message,
            origin=version.commit.origin,
            told=told,
        )

    def _landed(self, record: Record) -> Landed:
        return replace(record.landed, ref=self.ref)
