"""Rights that a command took from its own files: an executor that is not root needs them to read and remove these.

It runs commands as its own user, and so may give them back.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from temporal_runs.store.descriptors import opened

NAMED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def regain(folder: Path) -> None:
    """Lets us read every file below a folder, and enter and empty every folder, as far as they are ours."""
    if os.geteuid() == 0:
        return
    with suppress(OSError):
        folder.chmod(0o700 | stat.S_IMODE(folder.lstat().st_mode))
    for _, folders, files, above in os.fwalk(folder):
        for name in map(os.fsencode, (*folders, *files)):
            with suppress(OSError):
                _regain(name, above)


def _regain(name: bytes, above: int) -> None:
    mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    needed = 0o700 if stat.S_ISDIR(mode) else 0o400 if stat.S_ISREG(mode) else 0
    if mode & needed == needed:
        return
    with opened(name, above, NAMED) as descriptor:
        # Not by its name, which may be a link by now.
        Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(mode) | needed)
