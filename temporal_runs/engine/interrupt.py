"""An interrupt ends a pull, build, push or wait at once, from any thread, by shutting its socket: also a silent one."""

import socket
import threading
from contextlib import suppress

from .errors import Interrupted


class Interrupt:
    """Given to one piece of work, or to several that follow each other. Once set, each of them raises Interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._socket: socket.socket | None = None

    @property
    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Ends the work; the engine gives it up when its connection is gone."""
        with self._lock:
            self._set = True
            if self._socket is not None:
                with suppress(OSError):  # the work has ended meanwhile
                    self._socket.shutdown(socket.SHUT_RDWR)

    def guard(self, connection: socket.socket) -> None:
        """The connection that is shut when it is set, instead of the one before; raises Interrupted where it is."""
        with self._lock:
            if self._set:
                raise Interrupted("interrupted by whoever wanted it")
            self._socket = connection
