"""Fetches: an image is pulled once at a time, whoever wants it. It goes on as long as somebody does, and no longer."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from temporal_runs.engine import ImageInfo, Interrupt, Progress, Report

from .login import Login

REPORT_SECONDS = 1


@dataclass(frozen=True)
class Wanted:
    """An image by its pinned name, and the login to pull it with."""

    name: str
    login: Login


Pull = Callable[[Wanted, Report, Interrupt], ImageInfo]


class _Fetch:
    """One pull, in a thread of its own."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.wanted_by: set[str] = set()
        self.interrupt = Interrupt()
        self.ended = threading.Event()
        self.progress = Progress(f"waits for the first word about {wanted.name}")
        self.image: ImageInfo | None = None
        self.error: Exception | None = None

    def run(self, pull: Pull) -> None:
        try:
            self.image = pull(self.wanted, self._report, self.interrupt)
        except Exception as error:  # whatever it is, it is raised to those who wait
            self.error = error

    def _report(self, progress: Progress) -> None:
        self.progress = progress


class Fetches:
    """The pulls of one executor; thread-safe. Those who want an image are told apart by keys of their own."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._lock = threading.Lock()
        self._under_way: dict[str, _Fetch] = {}
        self._wanted: dict[str, _Fetch] = {}

    def begin(self, wanted_by: str, wanted: Wanted) -> None:
        """Begins a pull, or joins the one under way, and returns; `join` with the same key gives what comes of it."""
        self._begun(wanted_by, wanted)

    def join(self, wanted_by: str, wanted: Wanted, progress: Report) -> ImageInfo:
        """Waits for the image, which is begun where it was not; raises what its pull raised.

        `progress` is called about every second and with the last that there was, and may raise to give up; then, as at
        the end, the key has left.
        """
        try:
            while True:
                fetch = self._begun(wanted_by, wanted)
                progress(fetch.progress)
                while not fetch.ended.wait(REPORT_SECONDS):
                    progress(fetch.progress)
                progress(fetch.progress)
                if fetch.image:
                    return fetch.image
                assert fetch.error
                if fetch.wanted.login == wanted.login:
                    raise fetch.error
                # It failed with somebody else's credentials, which says nothing of these.
                self.leave(wanted_by)
        finally:
            self.leave(wanted_by)

    def leave(self, wanted_by: str) -> None:
        """Wants it no more: the last one to leave ends the pull at once. Leaving what was never begun is fine."""
        with self._lock:
            fetch = self._wanted.pop(wanted_by, None)
            if fetch is None:
                return
            fetch.wanted_by.discard(wanted_by)
            if fetch.wanted_by or fetch.ended.is_set():
                return
            # Nobody joins a pull that ends.
            self._drop(fetch)
        fetch.interrupt.set()

    def _begun(self, wanted_by: str, wanted: Wanted) -> _Fetch:
        with self._lock:
            mine = self._wanted.get(wanted_by)
            if mine and mine.wanted.name == wanted.name:
                return mine
        self.leave(wanted_by)
        with self._lock:
            fetch = self._under_way.get(wanted.name)
            if fetch is None:
                fetch = self._under_way[wanted.name] = _Fetch(wanted)
                threading.Thread(target=self._run, args=(fetch,), name=f"pull {wanted.name}", daemon=True).start()
            fetch.wanted_by.add(wanted_by)
            self._wanted[wanted_by] = fetch
            return fetch

    def _run(self, fetch: _Fetch) -> None:
        fetch.run(self._pull)
        with self._lock:
            self._drop(fetch)
            fetch.ended.set()

    def _drop(self, fetch: _Fetch) -> None:
        if self._under_way.get(fetch.wanted.name) is fetch:
            del self._under_way[fetch.wanted.name]
