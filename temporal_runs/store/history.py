"""A project's commits and refs: commits never change, refs move only by compare-and-swap."""

import heapq
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .errors import StoreCorrupt, UnknownRevision
from .model import Changes, Commit, Landed
from .objects import Held, Objects, checked, damaged, digest, missing
from .trees import Node, sound

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
REF = re.compile(rf"{NAME.pattern}(/{NAME.pattern})*")
HASH = re.compile(r"[0-9a-f]{64}")
SHORTEST_PREFIX = 8
"""Characters of an id that name a commit; also how commits are laid out, so that a prefix is one listing."""


@dataclass(frozen=True)
class Record:
    """A commit with what only the store needs of it."""

    commit: Commit
    root: Node
    generation: int
    """More than that of any parent: what lies below a base can be told without reading it."""
    changes: Changes
    conflicts: list[str]
    skipped: list[str]

    @property
    def landed(self) -> Landed:
        """What its maker was told when it landed; kept, so that a retry is told the same."""
        return Landed(self.commit.id, self.changes, list(self.conflicts), list(self.skipped))


@dataclass(frozen=True)
class Ref:
    """A ref as it was read."""

    commit: str
    seq: int
    held: Held


class History:
    """The commits and refs of one project. Each commit is read once: they never change."""

    def __init__(self, objects: Objects, project: str) -> None:
        if not NAME.fullmatch(project):
            raise ValueError(f"{project!r} is no project name: it has to match {NAME.pattern}")
        self._objects = objects
        self._project = project
        self._known: dict[str, Record] = {}

    def exists(self) -> bool:
        """Whether anything was ever pushed."""
        return bool(self._objects.keys(f"refs/{self._project}"))

    def ref(self, name: str) -> Ref | None:
        """Where a ref stands, None if it does not exist."""
        key = self._ref_key(name)
        held = self._objects.held(key)
        if held is None:
            return None
        try:
            row = json.loads(held.data)
            ref = Ref(str(row["commit"]), int(row["seq"]), held)
        except (ValueError, LookupError, TypeError) as error:
            raise StoreCorrupt(f"the ref {key} cannot be understood. Restore it from a backup.") from error
        if not HASH.fullmatch(ref.commit):
            raise StoreCorrupt(f"the ref {key} names no commit. Restore it from a backup.")
        return ref

    def refs(self) -> list[str]:
        """Names of all refs, sorted."""
        return sorted(key.rpartition("/")[2].replace("@", "/") for key in self._objects.keys(f"refs/{self._project}"))

    def move(self, name: str, ref: Ref | None, commit: str) -> bool:
        """Moves a ref, if it still stands where `ref` was read."""
        # The nonce makes a ref's bytes, and so its ETag, differ each time: without it A, B, A would pass.
        row = {"commit": commit, "seq": ref.seq + 1 if ref else 1, "nonce": secrets.token_hex(8)}
        return self._objects.swap(self._ref_key(name), ref.held if ref else None, json.dumps(row).encode())

    def load(self, commit_id: str) -> Record:
        """A commit somebody asked for."""
        found = self._find(commit_id) if HASH.fullmatch(commit_id) else None
        if found is None:
            raise UnknownRevision(f"project {self._project} has no commit {commit_id}")
        return found

    def reach(self, commit_id: str) -> Record:
        """A commit that a ref or another commit names: it has to be there."""
        found = self._find(commit_id)
        if found is None:
            raise StoreCorrupt(missing(self.key(commit_id)))
        return found

    def starting_with(self, prefix: str) -> list[str]:
        """Ids of the commits that begin with at least eight characters."""
        keys = self._objects.keys(f"v/{self._project}/{prefix[:SHORTEST_PREFIX]}")
        ids = [key.rpartition("/")[2] for key in keys]
        return [commit_id for commit_id in ids if commit_id.startswith(prefix)]

    def walk(self, start: str, above: int = -1) -> Iterator[Record]:
        """A commit and all its ancestors of a higher generation than `above`, newest first."""
        first = self.reach(start)
        queue = [(-first.commit.at.timestamp(), first.commit.id, first)]
        seen = {start}
        while queue:
            _, _, record = heapq.heappop(queue)
            if record.generation <= above:
                continue
            yield record
            for parent in record.commit.parents:
                if parent not in seen:
                    seen.add(parent)
                    found = self.reach(parent)
                    heapq.heappush(queue, (-found.commit.at.timestamp(), found.commit.id, found))

    def lineage(self, starts: Iterable[str]) -> Iterator[Record]:
        """Commits and all their ancestors, each once, in any order."""
        waiting = list(starts)
        seen = set(waiting)
        while waiting:
            record = self.reach(waiting.pop())
            yield record
            new = [parent for parent in record.commit.parents if parent not in seen]
            seen.update(new)
            waiting += new

    def make(
        self,
        root: Node,
        parents: list[Record],
        *,
        author: str,
        message: str,
        origin: str,
        told: Landed,
    ) -> Record:
        """A new commit, durable, on no ref yet. `told` are the changes, conflicts and what was skipped."""
        at = datetime.now(UTC)
        body: dict[str, Any] = {
            "tree": root.tree.hex(),
            "content": root.hash.hex(),
            "packed": [root.pack.hex(), root.offset, root.size],
            "parents": [parent.commit.id for parent in parents],
            "author": author,
            "message": message,
            "origin": origin,
            "at": at.isoformat(),
            "generation": 1 + max((parent.generation for parent in parents), default=0),
            "changes": [told.changes.added, told.changes.changed, told.changes.deleted, told.changes.bytes],
            "conflicts": told.conflicts,
            "skipped": told.skipped,
            "nonce": secrets.token_hex(8),
        }
        data = json.dumps(body).encode()
        name = digest(data).hex()
        with self._objects.batch() as batch:
            batch.add(self.key(name), data)
        return record_of(name, data)

    def _find(self, commit_id: str) -> Record | None:
        if commit_id not in self._known:
            key = self.key(commit_id)
            data = self._objects.get(key)
            if data is None:
                return None
            self._known[commit_id] = record_of(commit_id, checked(key, bytes.fromhex(commit_id), data))
        return self._known[commit_id]

    def key(self, commit_id: str) -> str:
        """Where a commit lives."""
        return f"v/{self._project}/{commit_id[:SHORTEST_PREFIX]}/{commit_id}"

    def _ref_key(self, name: str) -> str:
        if not REF.fullmatch(name):
            raise ValueError(f"{name!r} is no ref name: letters, digits, `_.-`, parts separated by `/`")
        # Flat, since a folder cannot hold both a file `a` and a file `a/b`; no name holds an `@`.
        return f"refs/{self._project}/{name.replace('/', '@')}"


def record_of(name: str, data: bytes) -> Record:
    """The record of a commit's verified bytes."""
    try:
        body = json.loads(data)
        commit = Commit(
            id=name,
            tree=body["tree"],
            parents=tuple(body["parents"]),
            author=body["author"],
            message=body["message"],
            origin=body["origin"],
            at=datetime.fromisoformat(body["at"]),
        )
        pack, offset, size = body["packed"]
        content, tree = bytes.fromhex(body["content"]), bytes.fromhex(body["tree"])
        root = Node("d", content, size, 0, bytes.fromhex(pack), offset, tree)
        if not sound(root):
            raise ValueError("its root is no folder")
        return Record(commit, root, body["generation"], Changes(*body["changes"]), body["conflicts"], body["skipped"])
    except (ValueError, LookupError, TypeError) as error:
        raise StoreCorrupt(damaged(f"commit {name}")) from error
