"""The ledger: what an executor holds, on its disk, so that after a restart it still knows. One file a lease.

A file is replaced, never written over: a crash leaves the old record or the new one.
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import structlog

from temporal_runs.activities.leases import Holding, LeaseOfAnother
from temporal_runs.fleet import Resources
from temporal_runs.steps import Assignment, Lease, Request, Tier
from temporal_runs.worker.room import Room

log = structlog.get_logger()

LEASES = "leases"

TRIAL_BYTES = 64 * 1024
"""More than a record takes."""


class ExecutorExists(Exception):
    """Another process, of this machine or of another, already is the executor of that name."""


class Ledger:
    """The leases of one executor; thread-safe. Its folder is `guarded` by one process at a time."""

    def __init__(
        self,
        folder: Path,
        executor: str,
        host: str,
        lease_seconds: float,
        room: Room,
        changed: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._executor = executor
        self._host = host
        self._lease_seconds = lease_seconds
        self._room = room
        self._changed = changed
        self._lock = threading.Lock()
        self._draining = False
        self._can_write = True
        (folder / LEASES).mkdir(parents=True, exist_ok=True)
        self._holdings = {holding.token: holding for holding in recorded(folder)}
        for path in (folder / LEASES).iterdir():
            # What was killed as it gave a lease, or freed one, has left a part of it.
            if path.name.partition(".")[0] not in self._holdings:
                path.unlink(missing_ok=True)

    @property
    def folder(self) -> Path:
        """Where everything of this executor is."""
        return self._folder

    @property
    def executor(self) -> str:
        """Its id."""
        return self._executor

    @property
    def task_queue(self) -> str:
        return f"executor.{self._executor}"

    def grant(self, request: Request) -> Lease | None:
        """A lease, where there is room; the same one again to an attempt that already has it.

        None too where it cannot be written down: from then on there is no room, until `look_again` finds that it can.
        """
        with self._lock:
            token = next((h.token for h in self._holdings.values() if h.request.attempt == request.attempt), None)
            if token is None:
                if self._left(request.tier) < 1:
                    return None
                token = uuid.uuid4().hex
                gpus = self._free_gpus()[: request.tier.gpus]
                try:
                    self._write(Holding(token=token, request=request, granted_at=datetime.now(UTC), gpus=gpus))
                except OSError as error:
                    self._can_write = False
                    log.error("takes no Runs: its ledger cannot be written", folder=str(self._folder), error=str(error))
                    self._remove_files(token)
                    self._changed()
                    return None
        return Lease(
            executor=self._executor,
            host=self._host,
            task_queue=self.task_queue,
            token=token,
            seconds=self._lease_seconds,
        )

    def confirm(self, assignment: Assignment) -> Holding:
        """The holding of a lease that an activity has come for; raises KeyError, LeaseOfAnother."""
        with self._lock:
            holding = self._holdings[assignment.lease.token]
            if holding.request.attempt != assignment.attempt:
                raise LeaseOfAnother
            if holding.assignment is None:
                holding = holding.model_copy(update={"assignment": assignment})
                # Not worth a write of its own: the next change writes it, and before that nothing has been done.
                self._holdings[holding.token] = holding
            return holding

    def update(self, token: str, **changes: object) -> Holding:
        """Changes a holding, on disk before this returns; raises KeyError where it is not held."""
        with self._lock:
            holding = self._holdings[token].model_copy(update=changes)
            self._write(holding)
        self._changed()
        return holding

    def forget(self, token: str) -> None:
        """Removes the record of a lease of which nothing is left."""
        with self._lock:
            self._remove_files(token)
            self._holdings.pop(token, None)
        self._changed()

    def renew(self, token: str, at: float) -> None:
        """Sets the time from which on the watchdog counts; nothing where the lease is not held any more."""
        with self._lock:
            if token in self._holdings:
                path = renewed(self._folder, token)
                path.touch()
                os.utime(path, (at, at))

    def look_again(self) -> None:
        """Takes Runs again where nothing could be written, and now something can."""
        if self._can_write:
            return
        trial = self._folder / LEASES / "trial.draft"
        try:
            _write_to_disk(trial, bytes(TRIAL_BYTES))
        except OSError:
            return
        finally:
            trial.unlink(missing_ok=True)
        self._can_write = True
        log.info("takes Runs again: its ledger can be written")
        self._changed()

    def holdings(self) -> list[Holding]:
        with self._lock:
            return list(self._holdings.values())

    def oldest_without_container(self) -> datetime | None:
        """When the oldest lease was given whose image no container holds yet."""
        return min((one.granted_at for one in self.holdings() if not (one.begun or one.finished)), default=None)

    def left(self, tier: Tier) -> int:
        """How many more Runs of a tier there is room for."""
        with self._lock:
            return self._left(tier)

    def used(self) -> Resources:
        """What the Runs that are held take."""
        with self._lock:
            return self._room.used(self._held())

    @property
    def is_draining(self) -> bool:
        """True where nothing new is taken."""
        return self._draining

    @property
    def can_write(self) -> bool:
        """False where nothing new is taken because the last record could not be written."""
        return self._can_write

    def drain(self) -> None:
        """From now on there is no room."""
        self._draining = True
        self._changed()

    def _left(self, tier: Tier) -> int:
        return self._room.left(tier, self._held()) if self._can_write and not self._draining else 0

    def _held(self) -> list[Tier]:
        return [holding.request.tier for holding in self._at_work()]

    def _at_work(self) -> list[Holding]:
        return [holding for holding in self._holdings.values() if holding.finished is None]

    def _free_gpus(self) -> list[int]:
        taken = {gpu for holding in self._at_work() for gpu in holding.gpus}
        return [gpu for gpu in range(self._room.whole.gpus) if gpu not in taken]

    def _path(self, token: str) -> Path:
        return self._folder / LEASES / f"{token}.json"

    def _write(self, holding: Holding) -> None:
        path = self._path(holding.token)
        draft = path.with_suffix(".draft")
        _write_to_disk(draft, holding.model_dump_json().encode())
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._holdings[holding.token] = holding

    def _remove_files(self, token: str) -> None:
        for path in self._path(token).parent.glob(f"{token}.*"):
            path.unlink(missing_ok=True)


def _write_to_disk(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def renewed(folder: Path, token: str) -> Path:
    """The file whose modification time says when a lease was renewed last."""
    return folder / LEASES / f"{token}.renewed"


def fallen(folder: Path, token: str) -> Path:
    """The file that says that a command was ended with its lease."""
    return folder / LEASES / f"{token}.fallen"


def recorded(folder: Path) -> list[Holding]:
    """What the executor of a folder holds, as it is on disk; any process may ask."""
    records: list[Holding] = []
    for path in (folder / LEASES).glob("*.json"):
        with suppress(FileNotFoundError):  # it was freed meanwhile
            records.append(Holding.model_validate_json(path.read_bytes()))
    return records


def guarded(folder: Path, executor: str) -> IO[bytes]:
    """Makes this process the one of a folder, until it closes what is given; raises ExecutorExists."""
    folder.mkdir(parents=True, exist_ok=True)
    guard = (folder / "lock").open("wb")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        guard.close()
        raise ExecutorExists(
            f"executor {executor!r} already runs on this machine: end it first, or choose another --id"
        ) from None
    return guard
