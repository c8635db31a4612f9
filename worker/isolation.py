"""How an executor gives each command files of its own: by an overlay where its Docker engine can, else by a copy.

Found out by trying, since much can be in the way: a kernel, a file system, an engine on another machine, in a machine
of its own, or without root.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from temporal_runs.engine import Engine, EngineError, EngineUnavailable
from temporal_runs.workspaces import Disk, Kind, Overlay

log = structlog.get_logger()

BELOW, WRITTEN = "below", "written"
PROBE_DISK = 8 * 2**20


def isolation(engine: Engine, folder: Path) -> Kind:
    """What works for workspaces in a folder; raises EngineUnavailable."""
    with probe(folder) as place:
        reason = why_no_overlay(engine, place)
    if reason is None:
        return "overlay"
    log.warning("no overlays here: files are copied for each Run", reason=reason)
    return "copy"


def limits_disks(engine: Engine, folder: Path) -> bool:
    """Whether a command can be given a disk of its own, and the engine sees it; raises EngineUnavailable."""
    with probe(folder) as place:
        try:
            _disk(place).make(PROBE_DISK)
            reason = why_no_overlay(engine, place / "disk")
        except OSError as error:
            reason = str(error)
    if reason:
        log.info("no disk limits here: tiers that have one are not served", reason=reason)
    return reason is None


def why_no_overlay(engine: Engine, place: Path) -> str | None:
    """Has the engine mount an overlay of folders in a place; what is in the way, or None."""
    overlay = Overlay([place / "top", place / "bottom"], place / "upper", place / "work")
    try:
        for folder in (*overlay.lower, overlay.upper, overlay.work):
            folder.mkdir()
        (overlay.lower[1] / BELOW).mkdir()
        # What we have to be able to write and read ourselves: a deletion, and a mark.
        os.mknod(overlay.lower[0] / "deleted", stat.S_IFCHR, os.makedev(0, 0))
        os.setxattr(overlay.upper, "user.overlay.probe", b"y")
        engine.write_through(overlay.options, BELOW, WRITTEN)
    except EngineUnavailable:
        raise
    except (EngineError, OSError, ValueError) as error:
        return str(error)
    return None if (overlay.upper / BELOW / WRITTEN).exists() else "the engine does not see these folders"


@contextmanager
def probe(folder: Path) -> Iterator[Path]:
    """An empty folder to try things in: always the same, so that it is cleared after one that was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "probe"
    # This comes before the ledger, which keeps out a second executor of this name.
    with (folder / "probe.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _clear(place)
        place.mkdir()
        try:
            yield place
        finally:
            _clear(place)


def _disk(place: Path) -> Disk:
    return Disk(place / "image", place / "disk")


def _clear(place: Path) -> None:
    with suppress(OSError):
        _disk(place).unmount()
    shutil.rmtree(place, ignore_errors=True)
