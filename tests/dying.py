"""Work that is killed at a chosen point: for looking at what it leaves, at every one of them."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial

import obstore

CALLS = """
    chmod chown link listxattr mkdir mknod remove removexattr rename rmdir scandir setxattr symlink truncate utime
"""
TOUCHES = {"open", "shutil.rmtree", *(f"os.{call}" for call in CALLS.split())}
"""What the interpreter tells of (PEP 578) that has to do with a disk."""


def obstore_is_audited() -> None:
    """Has the interpreter tell of each call of obstore, as it does by itself of what touches a disk."""
    for name in ("get", "get_range", "put", "head", "list", "delete"):
        setattr(obstore, name, partial(_audited, name, getattr(obstore, name)))


def _audited(name: str, call: Callable[..., object], *arguments: object, **more: object) -> object:
    sys.audit(f"obstore.{name}")
    return call(*arguments, **more)


def killed(work: Callable[[], object], after: int) -> bool:
    """Does it in a process of its own, which is killed before it touches the disk, or a bucket of which
    `obstore_is_audited`, once more than `after` times.

    Whether it was; else the work is done.
    """
    child = os.fork()
    if child == 0:
        left = after

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in TOUCHES or event.startswith("obstore."):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "it failed by itself"
    return status != 0


def killed_everywhere(work: Callable[[], object]) -> Iterator[int]:
    """One process after the other does the work, each killed a little later, up to the one that ends it."""
    after = 0
    while killed(work, after):
        yield after
        after += 1
    assert after > 5, "it must have had something to do"
