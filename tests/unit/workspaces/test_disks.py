"""What an executor makes of the disk it is on."""

import shutil
from pathlib import Path

import pytest

from temporal_runs.store import Store
from tests.disks import disk
from tests.unit.store.store_folders import build
from tests.unit.workspaces.conftest import Executor, needs_root

pytestmark = needs_root


@pytest.mark.parametrize("make", ["mkfs.xfs -q -m reflink=1", "mkfs.btrfs -q"])
def test_copies_share_their_blocks_where_the_file_system_can(tmp_path: Path, make: str):
    size = 64 * 2**20
    files = build(tmp_path / "first", {b"big": ("file", bytes(range(256)) * (size // 256), False)})
    with disk(tmp_path, 512 * 2**20, *make.split()) as folder:
        executor = Executor(Store.open(str(tmp_path / "store")), folder / "executor", "copy")
        commit = executor.push(files)
        executor.make("r0", commit)
        used = shutil.disk_usage(folder).used
        for name in ("r1", "r2", "r3"):
            executor.make(name, commit)
        assert shutil.disk_usage(folder).used - used < size // 4
        with executor.at_work("r1", commit) as one, executor.at_work("r2", commit) as other:
            with (one / "big").open("r+b") as file:
                file.write(b"changed")
            assert (other / "big").read_bytes()[:7] == bytes(range(7))
