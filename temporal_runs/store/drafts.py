"""Drafts: what a store in a folder writes aside before it is given its name. A draft's own name tells whose it is.

One is removed when the process that wrote it is known to be dead, else when it is a day old: of a process on another
machine, or in another container, nobody here can tell.
"""

import functools
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

ABANDONED = 24 * 3600
"""Seconds after which what is still a draft is of a process that was killed."""


def draft_in(folder: Path) -> Path:
    """The name of a new one of this process."""
    return folder / f"{_here()}.{os.getpid()}.{secrets.token_hex(8)}"


def clear_abandoned(folder: Path) -> None:
    """Removes the drafts that nobody will go on with."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # given its name, or removed by another
            if _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    where, _, rest = path.name.partition(".")
    pid = rest.partition(".")[0]
    if where == _here() and pid.isdecimal() and not _lives(int(pid)):
        return True
    return path.stat().st_mtime < time.time() - ABANDONED


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


@functools.cache
def _here() -> str:
    """Where a process has the number that it has: on this machine, since its start, in one namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux: it can be told of nobody
        return secrets.token_hex(8)
    return blake3(f"{boot}{namespace}".encode()).hexdigest()[:16]
