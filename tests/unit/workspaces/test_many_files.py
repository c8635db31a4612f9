"""A project of 300,000 files goes the whole way, and takes no more memory than one of a few."""

import resource
from pathlib import Path

import pytest

from temporal_runs.store import Store
from tests.unit.workspaces.conftest import Executor, needs_root

FILES, FOLDERS = 300_000, 3_000
MIB = 2**20

pytestmark = [needs_root, pytest.mark.timeout(600)]


def test_a_project_of_very_many_files(tmp_path: Path):
    project = tmp_path / "project"
    for number in range(FOLDERS):
        folder = project / f"{number:04}"
        folder.mkdir(parents=True)
        for n in range(FILES // FOLDERS):
            (folder / f"{n:03}").write_bytes(b"%d/%d" % (number, n))
    store = Store.open(str(tmp_path / "store"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    index = tmp_path / "index"
    pushed = store.push("p", project, base=None, author="ann", message="", index=index)
    assert pushed.landed.changes.added == FILES
    (project / "0001" / "001").write_text("changed")
    pushed = store.push("p", project, base=pushed.version, author="ann", message="", index=index)
    assert (pushed.landed.changes.added, pushed.landed.changes.changed) == (0, 1)
    executor = Executor(store, tmp_path / "executor", "overlay")
    seen = 0
    with executor.at_work("r1", pushed.version) as folder:
        seen = sum(1 for path in folder.glob("*/*"))
        (folder / "2999" / "099").write_text("made")
        (folder / "0002" / "002").unlink()
    changes = executor.land("r1", pushed.version).changes
    assert (seen, changes.added, changes.changed, changes.deleted) == (FILES, 0, 1, 1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 64 * MIB + 200 * FILES
