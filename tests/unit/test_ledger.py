"""What an executor's ledger leaves on its disk, whenever its process is killed or a lease is given back."""

from pathlib import Path

import pytest

from temporal_runs.steps import Attempt, Lease, Request, Tier
from temporal_runs.worker.ledger import LEASES, Ledger
from temporal_runs.worker.room import Machine, Offer, Room

TIER = Tier(name="small", cores=1, memory=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return opened(tmp_path)


def opened(folder: Path) -> Ledger:
    room = Room.offered(Offer({"small": 2}), {"small": TIER}, Machine(cores=8, memory=8, limits_disks=False))
    return Ledger(folder, "e", "host", 120, room, lambda: None)


def granted(ledger: Ledger) -> Lease:
    lease = ledger.grant(Request(attempt=Attempt(run_id="r", execution_id="e"), tier=TIER))
    assert lease
    return lease


def files(folder: Path) -> set[str]:
    return {path.suffix for path in (folder / LEASES).iterdir()}


def test_a_lease_that_is_renewed_once_it_was_freed_leaves_nothing(ledger: Ledger, tmp_path: Path):
    token = granted(ledger).token
    ledger.renew(token, 1)
    assert files(tmp_path) == {".json", ".renewed"}
    ledger.forget(token)
    ledger.renew(token, 2)
    assert files(tmp_path) == set()


def test_what_a_killed_process_left_of_a_lease_is_removed_by_the_next(ledger: Ledger, tmp_path: Path):
    ledger.renew(granted(ledger).token, 1)
    for name in ("killed.draft", "killed.renewed", "killed.fallen"):
        (tmp_path / LEASES / name).touch()
    opened(tmp_path)
    assert files(tmp_path) == {".json", ".renewed"}
