"""Small disks of any kind, for what only happens on one: it is full, read-only, or shares blocks."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def disk(place: Path, size: int, *make: str) -> Generator[Path]:
    """A folder that is a new file system of that many bytes, made by a command such as `mkfs.ext4 -q`."""
    image, folder = place / f"{make[0]}.img", place / make[0]
    with image.open("xb") as file:
        file.truncate(size)
    subprocess.run([*make, image], check=True)
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield folder
    finally:
        # Lazily, since a store or a cache of the test may still have it open.
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, how: str) -> None:
    """`ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)
