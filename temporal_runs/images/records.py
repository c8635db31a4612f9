"""What an executor knows of the images that it has pulled or built: as whose they came, who may have them, their use.

An image without a record never came from a registry through us: it is the machine's own, for everybody on it. So
records are never guessed, and never lost: one small file, replaced, never written over.
"""

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class RecordsUnreadable(Exception):
    """Nobody knows any more who may have which image."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An image that was pulled or built here."""

    id: str
    names: tuple[str, ...]
    """tags that it was asked for by; one that somebody gave it beside these is theirs"""
    proof: str
    """what a registry is asked for, to learn whether somebody may have it"""
    source: str
    """name of the login that it came with; "" where everybody on this machine may have it"""
    allowed: tuple[str, ...] = ()
    """names of logins that have been shown to pull it"""
    size: int
    """bytes, with layers that other images may share"""
    last_used: datetime


class Expected(msgspec.Struct, frozen=True):
    """An image that is being pulled: written before it can be there, so that no crash makes it the machine's own."""

    name: str
    login: str
    own: tuple[str, ...]
    """ids of the images that were the machine's own before"""


class _File(msgspec.Struct):
    images: list[Record] = []
    expected: list[Expected] = []


class Records:
    """The records of one executor; thread-safe. Every change is on disk before its call returns."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "images.json"
        self._lock = threading.Lock()
        content = _read(self._path)
        self._images = {record.id: record for record in content.images}
        self._expected = content.expected
        self._going: set[str] = set()

    def get(self, image: str) -> Record | None:
        return self._images.get(image)

    def all(self) -> list[Record]:
        with self._lock:
            return list(self._images.values())

    def put(self, record: Record) -> None:
        """A new record; where there is one already, everything that is known of both, and the older source."""
        with self._lock:
            if before := self._images.get(record.id):
                names = tuple(dict.fromkeys((*before.names, *record.names)))
                allowed = tuple(dict.fromkeys((*before.allowed, *record.allowed)))
                record = msgspec.structs.replace(
                    record, names=names, allowed=allowed, source=before.source, proof=before.proof
                )
            self._images[record.id] = record
            self._write()

    def use(self, image: str, name: str = "") -> bool:
        """Notes that somebody is about to use an image (by a new name of it); False where it is being removed."""
        with self._lock:
            if image in self._going:
                return False
            if before := self._images.get(image):
                names = (*before.names, name) if name and name not in before.names else before.names
                self._images[image] = msgspec.structs.replace(before, last_used=datetime.now(UTC), names=names)
                self._write()
            return True

    def allow(self, image: str, login: str) -> None:
        """Notes that a login has been shown to pull an image."""
        with self._lock:
            before = self._images.get(image)
            if before and before.source and login not in before.allowed:
                self._images[image] = msgspec.structs.replace(before, allowed=(*before.allowed, login))
                self._write()

    def refuse(self, image: str, login: str) -> None:
        """Notes that a registry does not let a login have an image any more."""
        with self._lock:
            before = self._images.get(image)
            if before and login in before.allowed:
                allowed = tuple(name for name in before.allowed if name != login)
                self._images[image] = msgspec.structs.replace(before, allowed=allowed)
                self._write()

    def remove(self, record: Record, discard: Callable[[str], bool]) -> bool:
        """Has an image discarded, unless it was used since that record was read; whether it is gone."""
        with self._lock:
            if self._images.get(record.id) != record:
                return False
            self._going.add(record.id)
        gone = False
        try:
            gone = discard(record.id)
        finally:
            with self._lock:
                self._going.discard(record.id)
                if gone and self._images.get(record.id) == record:
                    del self._images[record.id]
                    self._write()
        return gone

    def expected(self) -> list[Expected]:
        with self._lock:
            return list(self._expected)

    def expect(self, image: Expected) -> None:
        with self._lock:
            self._expected.append(image)
            self._write()

    def settle(self, image: Expected) -> None:
        """It has come and is recorded, or it will not come."""
        with self._lock:
            if image in self._expected:
                self._expected.remove(image)
                self._write()

    def _write(self) -> None:
        draft = self._path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(_File(list(self._images.values()), self._expected)))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return _File()
    except msgspec.MsgspecError as error:
        raise RecordsUnreadable(
            f"{path} cannot be read ({error}), so nobody knows who may have which image of this machine: "
            "remove the images that are not for everybody, then the file"
        ) from None
