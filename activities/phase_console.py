"""The console of a build or a pull: what the engine said of it, brought into the store while it is under way.

The store never fails or slows the work: lines wait in memory for it, and of too many the oldest are lost.
It has no end mark, for a build may be taken up again elsewhere: who follows it stops when the Run leaves the phase.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import Self

from temporal_runs.console import ConsoleWriter
from temporal_runs.engine import Layer, Progress, Report
from temporal_runs.store import Store, StoreError

STORE_SECONDS = 0.5
"""Between two looks for something to be stored, as of a command's console."""

LAST_SECONDS = 2
"""How long the end of the work waits for its last lines to be stored."""

MOST_WAITING = 20_000
"""Lines that wait for a store that is away."""

CAP = 64 * 2**20
"""Bytes of a console that are kept: of more, the first half and the last one."""

WORTH_A_LINE = (
    "download complete",
    "pull complete",
    "already exists",
    "pushed",
    "layer already exists",
    "mounted from",
    "retrying",
)
"""What a layer's state begins with that is told; the engine counts a retry's seconds down."""


class PhaseConsole:
    """`async with`: what is told to its report becomes lines, between one for the beginning and one for the end."""

    def __init__(self, store: Store, workflow_id: str, execution_id: str, name: int | str, beginning: str) -> None:
        self._writer = ConsoleWriter(store, workflow_id, execution_id, name, cap=CAP)
        self._beginning = beginning
        self._lock = threading.Lock()
        self._waiting = deque[tuple[int, bytes]]()
        self._lost = False
        self._taken_up = False
        self._bringing = threading.Lock()
        """the last lines may come while earlier ones are still on their way"""
        self._states: dict[str, str] = {}
        self._told: Progress | None = None
        self._storing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.print(self._beginning)
        self._storing = asyncio.create_task(self._store())
        return self

    async def __aexit__(self, _: object, problem: BaseException | None, __: object) -> None:
        if isinstance(problem, asyncio.CancelledError):
            self.print("broken off: it is not wanted any more")
        elif problem:
            self.print(f"failed: {problem}")
        assert self._storing
        self._storing.cancel()
        last = asyncio.ensure_future(asyncio.to_thread(self._bring_in))
        await asyncio.wait({last}, timeout=LAST_SECONDS)

    def print(self, text: str) -> None:
        """Adds lines; may be called from any thread, and never waits for the store."""
        now = time.time_ns() // 10**6
        with self._lock:
            for line in text.splitlines():
                if len(self._waiting) == MOST_WAITING:
                    self._waiting.popleft()
                    self._lost = True
                self._waiting.append((now, f"{line}\n".encode(errors="replace")))

    def listening(self, report: Report) -> Report:
        """The same report, whose progress is also printed."""

        def told(progress: Progress) -> None:
            # A fetch that others wait for too is looked at each second, whether or not there is news.
            if progress is not self._told:
                self._told = progress
                self._take(progress)
            report(progress)

        return told

    def _take(self, progress: Progress) -> None:
        if not progress.layers:
            self.print(progress.text)
        for layer in progress.layers:
            self._take_layer(layer)

    def _take_layer(self, layer: Layer) -> None:
        state = next((one for one in WORTH_A_LINE if layer.state.startswith(one)), "")
        if state and state != self._states.get(layer.id):
            self.print(f"{layer.id}: {layer.state}")
        self._states[layer.id] = state

    async def _store(self) -> None:
        while True:
            await asyncio.sleep(STORE_SECONDS)
            await asyncio.to_thread(self._bring_in)

    def _bring_in(self) -> None:
        """Stores what waits; without the store it waits on."""
        with contextlib.suppress(StoreError), self._bringing:
            if not self._taken_up:
                self._writer.resume()
                self._taken_up = True
            self._writer.flush()
            while line := self._next():
                at, data, after_loss = line
                self._writer.write("stdout", at, data, after_loss=after_loss)
            self._writer.flush()

    def _next(self) -> tuple[int, bytes, bool] | None:
        with self._lock:
            if not self._waiting:
                return None
            after_loss, self._lost = self._lost, False
            return *self._waiting.popleft(), after_loss
