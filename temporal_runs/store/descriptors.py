"""Files and folders by descriptor: what a name stands for is opened once, and a link is never followed."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nonblock: it may have become a fifo
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(name: bytes | Path, folder: int | None = None, flags: int = OPEN_FILE) -> Generator[int]:
    """A descriptor of a file or folder, below an open folder if one is given; a link is refused."""
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
