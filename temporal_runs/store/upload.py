"""New contents and trees on their way into a store: all are in place and durable when `with` ends."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .contents import EMPTY, SMALL, ZERO_PART, blob_key
from .objects import Objects, digest
from .packs import Packer, Place
from .trees import Node, Tree, content_hash, encoded

NOWHERE = Place(b"", 0)
"""The place of what has an object of its own, or needs none."""


class Upload:
    """Contents and trees have packs of their own: who lists a version reads no contents."""

    def __init__(self, objects: Objects, check: Callable[[], None] | None = None) -> None:
        """`check` is called before the first object is added; what it raises ends the upload."""
        self._batch = objects.batch()
        self._check = check
        self._lock = threading.Lock()
        self._contents = Packer(self._add)
        self._trees = Packer(self._add)

    def content(self, name: bytes, data: bytes) -> Place:
        """Adds a content, or the part names of one, under its name."""
        if name == EMPTY:
            return NOWHERE
        if len(data) <= SMALL:
            return self._contents.add(name, data)
        self.part(name, data)
        return NOWHERE

    def part(self, name: bytes, data: bytes) -> None:
        """Adds a part of a content. Thread-safe."""
        if name != ZERO_PART:
            self._add(blob_key(name), data)

    def _add(self, key: str, data: bytes) -> None:
        with self._lock:
            if self._check is not None:
                self._check()
                self._check = None
        self._batch.add(key, data)

    def folder(self, tree: Tree, mtime_ns: int, base: Node | None = None) -> Node:
        """The folder that holds `tree`: `base` if that holds the same, else a new one."""
        content = content_hash(tree)
        if base is not None and base.hash == content:
            return base
        data = encoded(tree)
        name = digest(data)
        place = self._trees.add(name, data)
        return Node("d", content, len(data), mtime_ns, place.pack, place.offset, name)

    def __enter__(self) -> Self:
        self._batch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._contents.close()
                self._trees.close()
        except BaseException as failed:
            self._batch.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._batch.__exit__(kind, error, trace)
