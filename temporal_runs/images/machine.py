"""The images of an executor's machine: looked up, fetched, recorded when built, and removed when they are too many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from temporal_runs.engine import Engine, ImageInfo, Interrupt, Report

from .arrivals import Arrivals
from .cache import Cache, Result
from .fetches import Fetches, Wanted
from .login import ANYBODY, Login
from .lookup import Lookup, ResolvedImage, tag_of
from .names import familiar
from .records import Record, Records


@dataclass(frozen=True)
class HeldImage:
    """An image of the machine, for people to see. `source` is None where it is the machine's own."""

    id: str
    names: tuple[str, ...]
    size: int
    in_use: bool
    source: str | None
    last_used: datetime | None


class MachineImages:
    """Thread-safe; calls block. Its folder is one process's at a time."""

    def __init__(self, engine: Engine, folder: Path, limit: int, in_use_since: Callable[[], datetime | None]) -> None:
        """`limit`: bytes of images that are kept. `in_use_since`: when the oldest lease without container was given.

        Raises RecordsUnreadable.
        """
        self._engine = engine
        self._records = Records(folder)
        self._arrivals = Arrivals(engine, self._records)
        self._lookup = Lookup(engine, self._records, self._arrivals)
        self._cache = Cache(engine, self._records, limit, in_use_since)
        self._fetches = Fetches(self._pull)

    def resolve(self, reference: str, login: Login = ANYBODY) -> ResolvedImage:
        """What a name means now, and whether the machine has it.

        The registry is asked, unless it was within a minute; where it cannot say, or not within 2 s, and the machine
        has the image, that is it. Raises ImageNotFound and RegistryUnavailable where neither can help, or the image is
        not for this login.
        """
        return self._lookup.resolve(reference, login)

    def begin_fetch(self, wanted_by: str, image: ResolvedImage, login: Login = ANYBODY) -> None:
        """Begins to fetch an image and returns; `fetch` with the same key gives what comes of it."""
        if not image.id:
            self._fetches.begin(wanted_by, Wanted(image.name, login))

    def fetch(self, wanted_by: str, image: ResolvedImage, progress: Report, login: Login = ANYBODY) -> ResolvedImage:
        """The image, on the machine. `progress` is called about every second, and may raise to give up.

        Raises ImageNotFound, RegistryUnavailable, HostDiskFull.
        """
        if image.id:
            return image
        found = self._fetches.join(wanted_by, Wanted(image.name, login), progress)
        self._lookup.check(found.id, login)
        self._name(found, tag_of(image.reference))
        return replace(image, id=found.id)

    def leave(self, wanted_by: str) -> None:
        """Wants no image any more; a fetch that nobody else wants ends at once."""
        self._fetches.leave(wanted_by)

    def built(self, image: ImageInfo, reference: str, bases: Iterable[str]) -> None:
        """Records an image that was built here, of bases by their ids: whoever may have those may have it too."""
        self._records.put(self._record_of_built(image, (familiar(reference),), bases))

    def made(self, step: ImageInfo, bases: Iterable[str]) -> None:
        """Records what a build has made on its way: should it come to no end, this may go as other images may."""
        # An instruction can print what looks like the engine's word for any image.
        if self._records.get(step.id) is None:
            self._records.put(self._record_of_built(step, (), bases))

    def with_room(self, work: Callable[[], Result]) -> Result:
        """Does a build; where the disk is full, once more after all images that may go went."""
        return self._cache.with_room(work)

    def make_room(self) -> bool:
        """Removes all images that may go; whether any went."""
        return self._cache.make_room()

    def tidy(self) -> None:
        """Removes images that are too many, and sees to pulls whose end was not seen; to be called now and then."""
        self._arrivals.settle()
        self._cache.tidy()

    def held(self) -> list[HeldImage]:
        """All images of the machine."""
        records = {record.id: record for record in self._records.all()}
        return [
            HeldImage(
                image.id,
                image.tags or image.digests,
                image.size,
                image.in_use,
                record.source if (record := records.get(image.id)) else None,
                record.last_used if record else None,
            )
            for image in self._engine.images()
        ]

    def _record_of_built(self, image: ImageInfo, names: tuple[str, ...], bases: Iterable[str]) -> Record:
        records = [record for record in map(self._arrivals.record_of, bases) if record]
        of_base = next((record for record in records if record.source), None)
        return Record(
            id=image.id,
            names=names,
            proof=of_base.proof if of_base else "",
            source=of_base.source if of_base else "",
            allowed=of_base.allowed if of_base else (),
            size=image.size,
            last_used=datetime.now(UTC),
        )

    def _pull(self, wanted: Wanted, report: Report, interrupt: Interrupt) -> ImageInfo:
        def pull() -> ImageInfo:
            return self._engine.pull(wanted.name, report, wanted.login.credentials, interrupt)

        return self._arrivals.receive(wanted.name, wanted.login.name, lambda: self._cache.with_room(pull))

    def _name(self, image: ImageInfo, tag: str) -> None:
        """Notes its use, and gives it the tag it was asked for by, unless that is the name of the machine's own."""
        ours = self._records.get(image.id) is not None
        before = self._engine.find_image(tag) if tag else None
        if tag and ours and (before is None or self._records.get(before.id)):
            self._records.use(image.id, tag)
            self._engine.tag_image(image.id, tag)
        else:
            self._records.use(image.id)
