"""An executor's workspaces, of each kind, over a store in a folder; commands change them as containers would."""

import os
import subprocess
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from temporal_runs.store import Landed, Store
from temporal_runs.workspaces import Cache, Kind, Workspace, Workspaces
from temporal_runs.workspaces.blobs import Owner

PROJECT = "p"
OWNER = (1234, 1235)
PLENTY = 2**40

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may mount overlays and give files away")


@dataclass
class Executor:
    """One executor's files, and its way with a project."""

    store: Store
    folder: Path
    kind: Kind
    limit: int = PLENTY

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """As when its process starts again."""
        self.cache = Cache(self.folder / "cache", self.store, self.limit)
        self.workspaces = Workspaces(self.folder / "workspaces", self.cache, self.store, self.kind)

    def push(self, folder: Path, base: str | None = None) -> str:
        """A version of what is in a folder."""
        pushed = self.store.push(PROJECT, folder, base=base, author="ann", message="pushed")
        return pushed.landed.commit

    def make(self, name: str, commit: str, owner: Owner = OWNER, **more: Any) -> Workspace:
        return self.workspaces.make(name, PROJECT, commit, owner, lambda files, size: None, **more)

    @contextmanager
    def at_work(self, name: str, commit: str, **more: Any) -> Generator[Path]:
        """The folder that a command sees."""
        made = self.make(name, commit, **more)
        if made.overlay is None:
            yield made.folder
            return
        point = self.folder / f"mnt-{uuid.uuid4().hex[:8]}"
        point.mkdir()
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", made.overlay.options, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
            point.rmdir()

    def land(self, name: str, base: str, ref: str = "main") -> Landed:
        return self.store.land(
            PROJECT,
            self.workspaces.take(name),
            base=base,
            origin=name,
            author="run",
            message=name,
            name=name,
            ref=ref,
        )

    def run(self, name: str, commit: str, command: Callable[[Path], object]) -> Landed:
        """A whole Run."""
        with self.at_work(name, commit) as folder:
            command(folder)
        landed = self.land(name, commit)
        self.workspaces.discard(name)
        return landed


@pytest.fixture(params=[pytest.param("overlay", marks=needs_root), pytest.param("copy", marks=needs_root)])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def executor(tmp_path: Path, kind: Kind) -> Executor:
    return Executor(Store.open(str(tmp_path / "store")), tmp_path / "executor", kind)


@pytest.fixture
def executor_of(tmp_path_factory: pytest.TempPathFactory, kind: Kind) -> Iterator[Callable[[], Executor]]:
    """A new executor with an empty store, for each example of a property."""

    def make() -> Executor:
        folder = tmp_path_factory.mktemp("executor")
        return Executor(Store.open(str(folder / "store")), folder, kind)

    yield make
