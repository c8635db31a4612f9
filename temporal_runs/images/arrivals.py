"""As whose an image came: written down before it is pulled, and found out later where a pull's end was not seen."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from temporal_runs.engine import Engine, HostDiskFull, ImageInfo, ImageNotFound, RegistryUnavailable

from .records import Expected, Record, Records


class Arrivals:
    """The images that come to a machine through one executor."""

    def __init__(self, engine: Engine, records: Records) -> None:
        self._engine = engine
        self._records = records
        self._lock = threading.Lock()
        self._under_way: list[Expected] = []

    def receive(self, name: str, login: str, pull: Callable[[], ImageInfo]) -> ImageInfo:
        """Pulls the image of a pinned name, and records it; one that the machine had before stays the machine's own."""
        own = tuple(image.id for image in self._engine.images() if self._records.get(image.id) is None)
        expected = Expected(name, login, own)
        with self._lock:
            self._under_way.append(expected)
        try:
            self._records.expect(expected)
            image = pull()
            self._record(expected, image)
            return image
        except (ImageNotFound, RegistryUnavailable, HostDiskFull):
            # After anything else the engine may still end its pull: `settle` looks later.
            self._records.settle(expected)
            raise
        finally:
            with self._lock:
                self._under_way.remove(expected)

    def record_of(self, image: str) -> Record | None:
        """The record of an image; also of one that has come just now, or whose pull's end was not seen."""
        for expected in self._records.expected():
            if image not in expected.own and (found := self._engine.find_image(expected.name)) and found.id == image:
                self._record(expected, found)
        return self._records.get(image)

    def settle(self) -> None:
        """Records what has come although its pull was broken off, and expects the rest no more."""
        for expected in self._records.expected():
            with self._lock:
                if expected in self._under_way:
                    continue
            if found := self._engine.find_image(expected.name):
                self._record(expected, found)
            else:
                self._records.settle(expected)

    def _record(self, expected: Expected, image: ImageInfo) -> None:
        if image.id not in expected.own:
            self._records.put(
                Record(
                    id=image.id,
                    names=(),
                    proof=expected.name,
                    source=expected.login,
                    allowed=(expected.login,),
                    size=image.size,
                    last_used=datetime.now(UTC),
                )
            )
        self._records.settle(expected)
