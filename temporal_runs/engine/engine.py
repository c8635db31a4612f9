"""One Docker engine: its machine, its images, its containers. Thread-safe; calls block."""

from typing import Any, Self

from ._connection import connect, translated
from .containers import Containers
from .images import Images


class Engine(Images, Containers):
    """The engine of DOCKER_HOST, or of this machine."""

    def __init__(self, api: Any) -> None:
        Images.__init__(self, api)
        Containers.__init__(self, api)
        self._api = api

    @classmethod
    def connect(cls) -> Self:
        """Does not ask the engine anything yet: it may be down."""
        return cls(connect())

    def ping(self) -> None:
        """Raises EngineUnavailable when the engine does not answer."""
        with translated():
            self._api.ping()

    def capacity(self) -> tuple[int, int]:
        """Cores and bytes of memory of the engine's machine."""
        with translated():
            machine = self._api.info()
        return machine["NCPU"], machine["MemTotal"]
