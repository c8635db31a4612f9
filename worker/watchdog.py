"""The watchdog: ends commands whose lease was not renewed in time, also when their executor is dead.

    python -m temporal_runs.worker.watchdog FOLDER_OF_AN_EXECUTOR

Started by the executor with a restartable command, ends by itself when there has been none for a while. It knows
nothing of Temporal: files beside the ledger's records tell it what is held and until when.
"""

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from temporal_runs.activities.leases import Holding
from temporal_runs.engine import Engine, EngineError
from temporal_runs.worker import logs
from temporal_runs.worker.ledger import fallen, recorded, renewed

log = structlog.get_logger()

LOCK = "watchdog.lock"
LOOK_SECONDS = 0.5
IDLE_SECONDS = 60
EARLY = 0.9
"""of its lease is what a silent executor's command gets: the rest is the time that ending it may take."""


def is_locked(path: Path) -> bool:
    """True while a watchdog is at work."""
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def watch(folder: Path) -> None:
    """Watches until there has been nothing to watch for a while."""
    engine = Engine.connect()
    while True:
        with _locked(folder / LOCK):
            last_needed = time.monotonic()
            while time.monotonic() - last_needed < IDLE_SECONDS:
                for holding in _fenced(folder):
                    last_needed = time.monotonic()
                    _end_if_over(engine, folder, holding)
                time.sleep(LOOK_SECONDS)
        # An executor that saw the lock just before it was let go relies on us.
        if not _fenced(folder):
            return


def _fenced(folder: Path) -> list[Holding]:
    return [holding for holding in recorded(folder) if holding.is_fenced and holding.begun and holding.finished is None]


def _end_if_over(engine: Engine, folder: Path, holding: Holding) -> None:
    assert holding.assignment
    try:
        silent = time.time() - renewed(folder, holding.token).stat().st_mtime
        if silent < EARLY * holding.assignment.lease.seconds:
            return
        fallen(folder, holding.token).touch()
        if engine.signal(holding.container, "KILL"):
            log.warning("ended with its lease", container=holding.container, silent_seconds=round(silent))
    except FileNotFoundError:
        return  # freed meanwhile, or not yet to be started
    except EngineError as error:
        log.warning("not ended yet", container=holding.container, error=str(error))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    logs.begin()
    watch(Path(sys.argv[1]))
