"""One Docker engine: its machine, its images, its containers. Thread-safe; calls block."""

from typing import Self

from ._connection import Connection
from .builds import Builds
from .containers import Containers
from .evidence import Evidence
from .images import Images
from .volumes import Volumes


class Engine(Images, Builds, Containers, Volumes, Evidence):
    """The engine of DOCKER_HOST, or of this machine."""

    def __init__(self, connection: Connection) -> None:
        Images.__init__(self, connection)
        Builds.__init__(self, connection, self)
        Containers.__init__(self, connection)
        Volumes.__init__(self, connection)
        Evidence.__init__(self, connection)
        self._connection = connection

    @classmethod
    def connect(cls) -> Self:
        """Does not ask the engine anything yet: it may be down."""
        return cls(Connection())

    def ping(self) -> None:
        """Raises EngineUnavailable when the engine does not answer within 5 seconds."""
        self._connection.ping()

    def capacity(self) -> tuple[int, int]:
        """Cores and bytes of memory of the engine's machine."""
        machine = self._connection.ask(lambda api: api.info())
        return machine["NCPU"], machine["MemTotal"]
