"""The watch over an engine's open answers: one that hangs breaks no connection, and whoever reads would wait for ever.

Keepalives do not tell: the kernel goes on answering for a process that is stopped.
"""

import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

import requests.exceptions

from .errors import EngineUnavailable

ASK_SECONDS = 10
"""Between two questions whether the engine is still there, as long as an answer is open."""

PATIENCE = 60
"""Seconds for which an engine may hang, from the first question that it left open, and no answer is broken off."""


class Watch:
    """Shuts the sockets of an engine that has answered nobody for PATIENCE. A thread of its own while there are any."""

    def __init__(self, ping: Callable[[], None]) -> None:
        self._ping = ping
        self._lock = threading.Lock()
        self._sockets = weakref.WeakSet[socket.socket]()
        self._is_on = False
        self._open_since: float | None = None
        self.engine_hangs = False
        """whether it broke answers off, and the engine has not been heard of since"""

    def over(self, connection: socket.socket) -> None:
        """Watches over one more, until it is closed and nobody has it any more."""
        with self._lock:
            self._sockets.add(connection)
            if not self._is_on:
                self._is_on = True
                threading.Thread(target=self._watch, name="watch over the engine", daemon=True).start()

    def heard(self) -> None:
        """The engine has answered somebody."""
        self._open_since = None
        self.engine_hangs = False

    def _watch(self) -> None:
        while self._is_needed():
            time.sleep(ASK_SECONDS)
            asked_at = time.monotonic()
            try:
                self._ping()
            except EngineUnavailable as error:
                if not isinstance(error.__cause__, requests.exceptions.Timeout):
                    # One that is gone has ended its answers itself.
                    self._open_since = None
                    continue
                self._open_since = self._open_since or asked_at
                if time.monotonic() - self._open_since > PATIENCE:
                    self.engine_hangs = True
                    self._shut()

    def _is_needed(self) -> bool:
        with self._lock:
            self._is_on = any(one.fileno() != -1 for one in self._sockets) or self.engine_hangs
            return self._is_on

    def _shut(self) -> None:
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):  # closed meanwhile
                    one.shutdown(socket.SHUT_RDWR)
