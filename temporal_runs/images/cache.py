"""The cache of images: bounded in bytes, and the least recently used goes first.

Only what was pulled or built here is ever removed, and of that nothing that a container uses, that a lease may be
about to use, or that somebody gave a name of their own. Layers count for each image that has them, so that what is on
the disk is less than the limit, not more.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from temporal_runs.engine import Engine, HostDiskFull, ListedImage

from .records import Record, Records

Result = TypeVar("Result")


class Cache:
    """The images of one executor that may go. `in_use_since`: when the oldest lease without a container was given."""

    def __init__(
        self, engine: Engine, records: Records, limit: int, in_use_since: Callable[[], datetime | None]
    ) -> None:
        self._engine = engine
        self._records = records
        self._limit = limit
        self._in_use_since = in_use_since

    def tidy(self) -> None:
        """Forgets images that others have removed or built on, and removes what is too much."""
        records = self._records.all()  # before the images, so that what is missing there did not just come
        images = {image.id: image for image in self._engine.images()}
        for record in records:
            if record.id not in images:
                self._records.remove(record, lambda _: True)
        surplus = sum(record.size for record in self._records.all()) - self._limit
        for record in self._removable(images):
            if surplus <= 0:
                return
            if self._records.remove(record, self._engine.discard_image):
                surplus -= record.size

    def make_room(self) -> bool:
        """Removes all that may go; whether anything went."""
        images = {image.id: image for image in self._engine.images()}
        gone = [self._records.remove(record, self._engine.discard_image) for record in self._removable(images)]
        return any(gone)

    def with_room(self, work: Callable[[], Result]) -> Result:
        """Does a pull or build; where the disk is full, once more after all that may go went."""
        try:
            return work()
        except HostDiskFull:
            if not self.make_room():
                raise
        return work()

    def _removable(self, images: dict[str, ListedImage]) -> Iterator[Record]:
        """The oldest first. An image that is used meanwhile stays, since its record is another one then."""
        for record in sorted(self._records.all(), key=lambda record: record.last_used):
            image = images.get(record.id)
            since = self._in_use_since()
            if since is not None and record.last_used >= since:
                return
            if image and not image.in_use and set(image.tags) <= set(record.names):
                yield record
