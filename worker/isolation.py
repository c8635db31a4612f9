"""How an executor gives each command files of its own: by an overlay where its Docker engine can, else by a copy.

Found out by trying, since much can be in the way: a kernel, a file system, an engine on another machine, in a machine
of its own, or without root.
"""

import os
import shutil
import stat
from pathlib import Path

import structlog

from temporal_runs.engine import Engine, EngineError, EngineUnavailable
from temporal_runs.workspaces import Kind, Overlay

log = structlog.get_logger()

BELOW, WRITTEN = "below", "written"


def isolation(engine: Engine, folder: Path) -> Kind:
    """What works for workspaces in a folder, which is made; raises EngineUnavailable."""
    probe = folder / "probe"
    shutil.rmtree(probe, ignore_errors=True)
    overlay = Overlay([probe / "top", probe / "bottom"], probe / "upper", probe / "work")
    try:
        for place in (*overlay.lower, overlay.upper, overlay.work):
            place.mkdir(parents=True)
        (overlay.lower[1] / BELOW).mkdir()
        # What we have to be able to write and read ourselves: a deletion, and a mark.
        os.mknod(overlay.lower[0] / "deleted", stat.S_IFCHR, os.makedev(0, 0))
        os.setxattr(overlay.upper, "user.overlay.probe", b"y")
        engine.write_through(overlay.options, BELOW, WRITTEN)
        if (overlay.upper / BELOW / WRITTEN).exists():
            return "overlay"
        reason = "the engine writes elsewhere"
    except EngineUnavailable:
        raise
    except (EngineError, OSError, ValueError) as error:
        reason = str(error)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    log.warning("no overlays here: files are copied for each Run", reason=reason)
    return "copy"
