"""A disk of a workspace's own, of a size: a file with a file system in it. A command that fills it gets ENOSPC."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

ROOM_FOR_A_WRITE = 2 * 1024 * 1024
"""Bytes: a disk with less left is full. A big write is refused while there still is room for a smaller one."""


class Disk:
    """Mounted at a folder for as long as the workspace is there. Needs root, and loop devices; else OSError."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self._folder = folder

    def make(self, size: int) -> None:
        """A new one, of that many bytes with all that a file system takes of them."""
        with self._image.open("xb") as file:
            file.truncate(size)
        # Without a journal: what is on it is not worth more than the machine's next start.
        _done("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(self._image))
        self._folder.mkdir()
        self.mount()

    def mount(self) -> None:
        """Mounts it, unless it is: after the machine was restarted it is not."""
        if not self._folder.is_mount():
            _done("mount", "-o", "loop,nosuid", str(self._image), str(self._folder))

    def unmount(self) -> None:
        """Unmounts it, if it is mounted."""
        with suppress(FileNotFoundError):
            if self._folder.is_mount():
                _done("umount", str(self._folder))


def is_full(folder: Path) -> bool:
    """Whether the file system of a folder has no room for a write, or a file."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < ROOM_FOR_A_WRITE or found.f_favail == 0


def _done(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"{command[0]}: {error.stderr.strip()}") from None
