"""The store as others see it: projects with versions of their files, and small documents beside them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from .checkout import Checkout
from .contents import Contents
from .diff import counted, differences, walk
from .errors import StoreError, StoreUnavailable, UnknownPath, UnknownProject, UnknownRevision
from .graft import graft
from .history import NAME, REF, SHORTEST_PREFIX, History, Record
from .ignore import Ignore, file_in
from .index import Index
from .intake import Progress
from .landing import Conflicting, Landing
from .limits import Limits
from .local import LocalObjects
from .model import Change, Changes, Commit, Entry, EntryKind, Landed, OnConflict, Pushed, Updated, shown
from .objects import Objects
from .packs import Packs
from .remote import RemoteObjects
from .scan import open_folder
from .sweep import Swept, sweep
from .taking import Taking
from .trees import Kind, Node, Trees, bytes_of
from .update import Update
from .upload import Upload
from .verify import Copies, Damage, Verification

FORMAT_KEY, FORMAT = "format", b"2"
DOCUMENT = re.compile(r"[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*")
KINDS: dict[Kind, EntryKind] = {"f": "file", "x": "file", "l": "link", "d": "folder"}


class Store:
    """Content-addressed versions of projects' files. Safe to share between threads and processes.

    `revision` is always "latest", a ref, a commit id or at least eight characters of one; `commit_id` is a
    whole id. A project name is [A-Za-z0-9][A-Za-z0-9_.-]{0,62}, anything else a `ValueError`.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @classmethod
    def open(cls, url: str) -> Self:
        """Opens "/folder", "file:///folder", "s3://bucket/prefix", "gs://", "az://" or "memory://".

        A folder is made where there is none. Any other backend is first asked whether it keeps to
        conditional writes, without which concurrent results would overwrite each other.
        """
        objects = backend(url)
        if objects.get(FORMAT_KEY) is None:
            objects.swap(FORMAT_KEY, None, FORMAT)  # lost only to one who writes the same
        if (found := objects.get(FORMAT_KEY)) != FORMAT:
            raise StoreUnavailable(f"the file store {url} has the format {found!r}, and this version needs {FORMAT!r}.")
        return cls(objects)

    @property
    def objects(self) -> Objects:
        """The backend: for what keeps a part of the store elsewhere."""
        return self._objects

    def put(self, key: str, data: bytes) -> None:
        """Keeps a document, overwriting an earlier one; it is seen whole or not at all."""
        self._objects.put(document_key(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Keeps a document unless there is one of that key; False where there is."""
        return self._objects.swap(document_key(key), None, data)

    def get(self, key: str) -> bytes | None:
        """A document, None if there is none."""
        return self._objects.get(document_key(key))

    def delete(self, prefix: str) -> None:
        """Removes the documents that `list` gives."""
        self._objects.delete(document_key(prefix))

    def tidy(self) -> None:
        """Removes what processes that were killed have left half done: what was theirs alone, and soon (see `gc`)."""
        self._objects.tidy()

    def projects(self) -> list[str]:
        """Names of all projects, sorted."""
        return self._objects.folders("refs")

    def head(self, project: str, ref: str = "main") -> str | None:
        """The commit a ref stands at, None if there is no such project or ref."""
        found = History(self._objects, project).ref(ref)
        return found.commit if found else None

    def resolve(self, project: str, revision: str) -> str:
        """The whole commit id of a revision."""
        history = History(self._objects, project)
        name = "main" if revision == "latest" else revision
        ref = history.ref(name) if REF.fullmatch(name) else None
        if ref is not None:
            return ref.commit
        if not history.exists():
            raise UnknownProject(f"there is no project {project}. Push its files first.")
        if re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", revision) is None:
            raise UnknownRevision(f"project {project} has no revision {revision}")
        match history.starting_with(revision):
            case [commit_id]:
                return commit_id
            case []:
                raise UnknownRevision(f"project {project} has no commit {revision}")
            case several:
                raise UnknownRevision(f"{revision} begins {len(several)} commits of {project}: give more of it")

    def commit(self, project: str, commit_id: str) -> Commit:
        """A commit's own facts."""
        return History(self._objects, project).load(commit_id).commit

    def log(self, project: str, revision: str = "latest", limit: int | None = None) -> list[Commit]:
        """A commit and all its ancestors, newest first."""
        start = self.resolve(project, revision)
        records = islice(History(self._objects, project).walk(start), limit)
        return [record.commit for record in records]

    def branches(self, project: str) -> dict[str, str]:
        """Refs of a project, by name, and the commits they stand at."""
        history = History(self._objects, project)
        found = {name: history.ref(name) for name in history.refs()}
        return {name: ref.commit for name, ref in found.items() if ref}

    def branch(self, project: str, name: str, revision: str) -> str:
        """Makes a ref that stands at a revision; gives its commit. Raises StoreError for a name that is taken."""
        commit = self.resolve(project, revision)
        if not REF.fullmatch(name):
            raise StoreError(f"{name!r} cannot name a branch: use letters, digits, `_.-`, and `/` between parts")
        if name == "latest" or not History(self._objects, project).move(name, None, commit):
            raise StoreError(f"{project} has a branch {name} already: choose another name")
        return commit

    def restore(self, project: str, revision: str, paths: Sequence[str] = (), *, author: str) -> Landed:
        """Lands on main a version in which everything, or each of the paths, is as it was in a revision."""
        history, trees = History(self._objects, project), self._trees()
        head = history.load(self.resolve(project, "main"))
        commit = self.resolve(project, revision)
        wanted = [(bytes_of(path).split(b"/"), self._node(trees, project, commit, path)) for path in paths]
        with Upload(self._objects) as upload:
            root = graft(trees, upload, head.root, wanted) if paths else history.load(commit).root
        told = Landed(head.commit.id, counted(trees.load, head.root, root), [], [])
        if root.same(head.root):
            return told
        message = f"restored {', '.join(map(shown, map(bytes_of, paths))) or 'everything'} from {commit[:12]}"
        version = history.make(root, [head], author=author, message=message, origin="", told=told)
        beside = version.commit.id[:SHORTEST_PREFIX].encode()
        return Landing(self._objects, history, "main").land(version, head, beside)

    def entries(self, project: str, commit_id: str) -> Iterator[Entry]:
        """Everything a commit holds, each folder before what is in it."""
        return (entry for entry, _ in self.contents(project, commit_id))

    def contents(self, project: str, commit_id: str, folder: str = "") -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Everything below a folder of a commit, by its path there, each with its content: read only when asked for."""
        packs = Packs(self._objects)
        trees, contents = Trees(packs), Contents(self._objects, packs)
        for path, node in walk(trees.load, self._folder(trees, project, commit_id, folder)):
            link = node.hash if node.kind == "l" else b""
            name = "" if node.kind == "l" else node.hash.hex()
            size = 0 if node.kind == "d" else node.size
            entry = Entry(path, KINDS[node.kind], size, node.kind == "x", name, link, node.mtime_ns)
            yield entry, contents.read(node) if entry.kind == "file" else iter(())

    def read(self, project: str, commit_id: str, path: str) -> Iterator[bytes]:
        """The content of one file, in pieces of up to 8 MiB. Links are not followed."""
        packs = Packs(self._objects)
        node = self._node(Trees(packs), project, commit_id, path)
        if node.kind not in ("f", "x"):
            raise UnknownPath(f"{shown(bytes_of(path))} is a {KINDS[node.kind]}, not a file")
        return Contents(self._objects, packs).read(node)

    def require_folder(self, project: str, commit_id: str, path: str) -> None:
        """Raises UnknownPath unless a commit has a folder of that path ("" is its root). Links are not followed."""
        self._folder(self._trees(), project, commit_id, path)

    def diff(self, project: str, old: str, new: str) -> list[Change]:
        """Files and links that differ between two revisions, by path."""
        history = History(self._objects, project)
        before, after = (history.load(self.resolve(project, revision)).root for revision in (old, new))
        found = differences(self._trees().load, before, after)
        return [Change(shown(path), kind, node.size) for path, kind, node in found]

    def checkout(
        self,
        project: str,
        commit_id: str,
        folder: Path,
        *,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Updated:
        """Makes `folder`, which must not exist or be empty, hold exactly the commit's files.

        `owner` is the (uid, gid) they are given. `progress` is told files and bytes done; what it raises
        ends the work and leaves the folder empty. `OSError` is the folder's own: no space, no right.
        """
        root = History(self._objects, project).load(commit_id).root
        return Checkout(self._objects, owner, progress).into(folder, root)

    def update(
        self,
        project: str,
        folder: Path,
        old: str | None,
        new: str,
        *,
        force: bool = False,
        deletes: bool = True,
        progress: Progress | None = None,
    ) -> Updated:
        """Makes a folder that was made from commit `old` hold `new`; what was changed in it alone stays.

        Raises `LocalChanges`, before anything is done, where that would overwrite such a change, unless `force`d.
        Without `deletes` files are only added and changed. Killed, it may be called again.
        """
        history = History(self._objects, project)
        before = history.load(old).root if old else None
        update = Update(self._objects, progress)
        return update.into(folder, before, history.load(new).root, force=force, deletes=deletes)

    def push(
        self,
        project: str,
        folder: Path,
        *,
        base: str | None,
        author: str,
        message: str,
        index: Path | None = None,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Pushed:
        """Makes a snapshot of `folder` a version and lands it on main, merged three-way against `base`.

        Without a base nothing is deleted, and where main differs the pushed file wins. The caller keeps
        the version as the next base. No commit is made where nothing changed since the base or main. `index` is a
        file in which the store remembers what the folder held, so that the next push reads only what changed.
        Raises `OverLimit`, before anything is stored, for a folder that is beyond the `limits`.
        """
        history = History(self._objects, project)
        parent = history.load(base) if base else None
        with open_folder(folder) as descriptor:
            ignore = Ignore.of(partial(file_in, descriptor))
            check = partial(limits.check, descriptor, ignore) if limits else None
            with Index(index, ignore.basis(base)) as known:
                with Upload(self._objects, check) as upload:
                    taking = Taking(self._objects, upload, parent, progress)
                    root = taking.scanned(descriptor, ignore, known)
                pushed = self._pushed(history, root, taking.skipped, parent, author, message)
                known.save(ignore.basis(pushed.version))
        return pushed

    def _pushed(
        self, history: History, root: Node, skipped: list[str], parent: Record | None, author: str, message: str
    ) -> Pushed:
        ref = history.ref("main")
        head = history.reach(ref.commit) if ref else None
        changes = counted(self._trees().load, parent.root if parent else None, root)
        if head is not None:
            unchanged = [known for known in (head, parent) if known is not None and known.root.same(root)]
            if unchanged:
                nothing = Changes(0, 0, 0, 0) if parent is None else changes
                return Pushed(unchanged[0].commit.id, Landed(head.commit.id, nothing, [], skipped))
        told = Landed("", changes, [], skipped)
        parents = [parent] if parent else []
        version = history.make(root, parents, author=author, message=message, origin="", told=told)
        beside = version.commit.id[:SHORTEST_PREFIX].encode() if parent else None
        return Pushed(version.commit.id, Landing(self._objects, history, "main").land(version, parent, beside))

    def land(
        self,
        project: str,
        take: Callable[[Taking], Node],
        *,
        base: str,
        origin: str,
        author: str,
        message: str,
        name: str,
        ref: str = "main",
        on_conflict: OnConflict = "keep_both",
        progress: Progress | None = None,
    ) -> Landed:
        """Lands on `ref` what was made from `base`; `take` brings the files in, from a folder or an overlay.

        Where both sides changed a file differently, ours lands beside it as `<file>.conflict-<name>`, and a deletion
        gives way to a change ("keep_both"); or all of ours lands on the branch `runs/<name>` instead ("branch"); or
        ours replaces theirs, which stays in the history ("last_wins"). It is always reported. What has landed on main,
        the ref or the branch does not land again: the same `origin` is told the same `Landed`. A ref that does not
        exist is created. Where nothing changed no commit is made and `Landed.commit` is the base.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a branch")
        history = History(self._objects, project)
        parent = history.load(base)
        landing = Landing(self._objects, history, ref, settles=on_conflict != "branch")
        aside = Landing(self._objects, history, f"runs/{name}")
        # It may have landed where it was asked to before it was given up, and is to be recovered to another ref.
        for place in (landing, aside, Landing(self._objects, history, "main")):
            if (earlier := place.of_origin(origin, parent)) is not None:
                return earlier
        with Upload(self._objects) as upload:
            taking = Taking(self._objects, upload, parent, progress)
            root = take(taking)
        told = Landed(parent.commit.id, counted(taking.trees.load, parent.root, root), [], taking.skipped, ref)
        if root.same(parent.root):
            if history.ref(ref) is None:
                history.move(ref, None, parent.commit.id)  # lost only to one who created it too
            return told
        make = partial(history.make, root, [parent], author=author, message=message, origin=origin)
        beside = None if on_conflict == "last_wins" else name.encode()
        try:
            return landing.land(make(told=told), parent, beside)
        except Conflicting as conflict:
            return aside.land(make(told=replace(told, conflicts=conflict.paths)), parent, beside)

    def gc(self, *, dry_run: bool = False) -> Swept:
        """Removes what no version refers to and is older than a day; see `sweep`. Safe beside everything else."""
        return sweep(self._objects, dry_run=dry_run)

    def verify(self, copies: Copies | None = None, progress: Progress | None = None) -> Iterator[Damage]:
        """Reads everything that versions refer to; gives what is damaged, healed where one of the `copies` can."""
        verification = Verification(self._objects, copies or (lambda project, path, node: ()), progress)
        for project in self.projects():
            yield from verification.project(project)

    def _folder(self, trees: Trees, project: str, commit_id: str, path: str) -> Node:
        node = self._node(trees, project, commit_id, path)
        if node.kind != "d":
            raise UnknownPath(f"{shown(bytes_of(path))} of {project} is a {KINDS[node.kind]}, not a folder")
        return node

    def _node(self, trees: Trees, project: str, commit_id: str, path: str) -> Node:
        node = History(self._objects, project).load(commit_id).root
        for name in bytes_of(path).split(b"/") if path else ():
            found = trees.load(node).get(name) if node.kind == "d" else None
            if found is None:
                raise UnknownPath(f"{shown(bytes_of(path))} is not in commit {commit_id[:12]} of {project}")
            node = found
        return node

    def _trees(self) -> Trees:
        return Trees(Packs(self._objects))

    # Last in the class: below it the name `list` would be this method, in annotations as well.
    def list(self, prefix: str) -> list[str]:
        """Keys of the documents that are `prefix` or below it ("runs/1" is not below "runs/10"), sorted."""
        top = document_key(prefix) if prefix.strip("/") else "d"
        return [key.removeprefix("d/") for key in self._objects.keys(top)]


def backend(url: str) -> Objects:
    """Where a store's objects are."""
    if "://" in url and not url.startswith("file://"):
        return RemoteObjects(url)
    path = unquote(urlsplit(url).path) if url.startswith("file://") else url
    if not path:
        raise ValueError("a file store needs a folder or a URL")
    return LocalObjects(Path(path).expanduser().absolute())


def document_key(key: str) -> str:
    """Where a document lives, `ValueError` for a key that could lead elsewhere."""
    name = key.rstrip("/")
    if not DOCUMENT.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise ValueError(f"{key!r} is no document key: names apart by `/`, none empty, `.` or `..`")
    return f"d/{name}"
