"""Folders for the store's tests: made from a plain description, and read back as one; and a desk to work at."""

# Names are bytes here, which pathlib does not take.
# ruff: noqa: PTH101, PTH103, PTH115, PTH118, PTH120, PTH123, PTH211

import os
import stat
from pathlib import Path
from typing import Any, cast

from temporal_runs.store import Changes, Landed, Pushed, Store
from temporal_runs.store.history import History
from temporal_runs.store.objects import digest
from temporal_runs.store.trees import Kind, Node
from temporal_runs.store.upload import Upload

Content = tuple[Any, ...]
"""("file", bytes, executable), ("link", text) or ("folder",)."""


def build(folder: Path, contents: dict[bytes, Content], mtime_ns: int | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    root = os.fsencode(folder)
    for name, content in sorted(contents.items()):
        path = root + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        match content:
            case ("file", data, executable):
                with open(path, "wb") as file:
                    file.write(data)
                os.chmod(path, 0o755 if executable else 0o644)
            case ("link", text):
                os.symlink(text, path)
            case _:
                os.makedirs(path, exist_ok=True)
    if mtime_ns is not None:
        for top, folders, files in os.walk(root, topdown=False):
            for name in folders + files:
                os.utime(os.path.join(top, name), ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    return folder


def contents(folder: Path) -> dict[bytes, Content]:
    """What `build` would need to make this folder again, with every folder named."""
    root = os.fsencode(folder)
    found: dict[bytes, Content] = {}
    for top, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(top, name)
            key = os.path.relpath(path, root)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[key] = ("link", os.readlink(path))
            elif stat.S_ISDIR(mode):
                found[key] = ("folder",)
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", file.read(), bool(mode & 0o100))
    return found


def mtimes(folder: Path) -> dict[bytes, int]:
    root = os.fsencode(folder)
    return {
        os.path.relpath(os.path.join(top, name), root): os.lstat(os.path.join(top, name)).st_mtime_ns
        for top, folders, files in os.walk(root)
        for name in folders + files
    }


class Desk:
    """One person's way with a store: folders named by a word, everything in project `p`."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self._bases: dict[str, str] = {}

    def push(self, files: dict[bytes, Content], base: str | None = None) -> Pushed:
        folder = self.folder / f"push-{len(list(self.folder.iterdir()))}"
        return self.push_folder(build(folder, files), base)

    def push_folder(self, folder: Path, base: str | None = None) -> Pushed:
        index = self.folder.with_name(f"index-of-{folder.name}")
        return self.store.push("p", folder, base=base, author="ann", message="pushed", index=index)

    def checkout(self, commit: str, name: str) -> Path:
        folder = self.folder / name
        self._bases[name] = commit
        self.store.checkout("p", commit, folder)
        return folder

    def land(self, name: str, ref: str = "main", **more: Any) -> Landed:
        return self.store.land(
            "p",
            lambda taking: taking.folder(self.folder / name, None),
            base=self._bases[name],
            origin=f"origin-{name}",
            author="run",
            message=name,
            name=name,
            ref=ref,
            **more,
        )

    def holds(self, commit: str) -> dict[bytes, Content]:
        """What a commit is as a folder."""
        folder = self.folder / f"holds-{len(list(self.folder.iterdir()))}"
        self.store.checkout("p", commit, folder)
        return contents(folder)

    def main(self) -> dict[bytes, Content]:
        return self.holds(self.store.resolve("p", "latest"))


def forged(store: Store, name: bytes, kind: str, named: bytes, size: int) -> str:
    """A commit whose root folder holds what somebody wrote by hand."""
    with Upload(store.objects) as upload:
        place = upload.content(digest(b"x"), b"x")
        root = upload.folder({name: Node(cast(Kind, kind), named, size, 0, place.pack, place.offset)}, 0)
    told = Landed("", Changes(0, 0, 0, 0), [], [])
    return History(store.objects, "p").make(root, [], author="", message="", origin="", told=told).commit.id
