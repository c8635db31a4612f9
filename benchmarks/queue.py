"""Thousands of Runs queued behind four places: what each costs, and whether more of them cost more each.

    python -m benchmarks.queue [--runs 500 5000] [--through 400]

The server is started as `temporal-runs up` starts it; dispatcher and executor are processes of their own. The executor
works on an engine that is none: its commands do nothing, so that only our own time is measured. It is the one place
where something stands in for the real engine. (All of these are run with -m: a script in this folder would take this
file for Python's own module `queue`.)
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client

from benchmarks.system import process
from temporal_runs.client import RunHandle, Runs
from temporal_runs.connection import connect
from temporal_runs.engine import (
    ContainerSpec,
    ContainerState,
    EngineError,
    ImageInfo,
    Interrupt,
    ListedImage,
    Piece,
    Sample,
)
from temporal_runs.settings import Settings
from temporal_runs.steps import Lease, Request
from temporal_runs.store import Store
from temporal_runs.worker import executor
from temporal_runs.worker.embedded import EmbeddedServer
from temporal_runs.worker.ledger import Ledger
from temporal_runs.worker.room import Offer

PLACES = 4
AT_ONCE = 50
"""Runs that are being started at a time"""

HELD = "held"
"""The command that waits until there is a file `go`; any other one is a number of seconds."""


class NoEngine:
    """Stands in for the Docker engine: a container is a moment at which it ends."""

    def __init__(self) -> None:
        self._go = Path(os.environ["BENCHMARK_GO"])
        self._commands: dict[str, str] = {}
        self._begun: dict[str, datetime] = {}
        self._over: dict[str, threading.Event] = {}

    @classmethod
    def connect(cls) -> "NoEngine":
        return cls()

    def ping(self) -> None: ...

    def capacity(self) -> tuple[int, int]:
        return PLACES, 64 * 2**30

    def find_image(self, reference: str) -> ImageInfo:
        return ImageInfo(id=f"sha256:{reference}", digests=())

    def images(self) -> list[ListedImage]:
        return []

    def write_through(self, options: str, folder: str, name: str, own: str) -> None:
        raise EngineError("there is no engine")

    def forget_writing(self, own: str) -> None: ...

    def create(self, spec: ContainerSpec) -> None:
        self._commands[spec.name] = spec.argv[0]
        self._over[spec.name] = threading.Event()

    def start(self, name: str) -> None:
        self._begun[name] = datetime.now(UTC)
        command = self._commands[name]
        if command == HELD:
            threading.Thread(target=self._wait_for_go, args=(name,), daemon=True).start()
        elif seconds := float(command):
            threading.Timer(seconds, self._over[name].set).start()
        else:
            self._over[name].set()

    def _wait_for_go(self, name: str) -> None:
        while not self._go.exists():
            time.sleep(0.05)
        self._over[name].set()

    def wait(self, name: str, interrupt: Interrupt | None = None) -> None:
        self._over[name].wait()

    def state(self, name: str) -> ContainerState | None:
        if name not in self._over:
            return None
        over, begun = self._over[name].is_set(), self._begun.get(name)
        status = "exited" if over else "running" if begun else "created"
        return ContainerState(status, 0 if over else None, False, begun, datetime.now(UTC) if over else None)

    def signal(self, name: str, signal: str) -> bool:
        if name not in self._over or self._over[name].is_set():
            return False
        self._over[name].set()
        return True

    def remove(self, name: str) -> None:
        for known in (self._commands, self._begun, self._over):
            known.pop(name, None)

    def remove_volume(self, name: str) -> None: ...

    def containers(self, labels: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
        return [(name, dict(labels)) for name in list(self._over)]

    def volumes(self, labels: Mapping[str, str]) -> list[str]:
        return []

    def console(self, name: str, *, follow: bool, after: str = "") -> Iterator[Piece]:
        if follow:
            self._over[name].wait()
        yield from ()

    def sample(self, name: str) -> Sample:
        return Sample(cpu_seconds=0.0, memory_bytes=0)


class TimedLedger(Ledger):
    """Notes when places are freed and when they are given away."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._notes = Path(os.environ["BENCHMARK_NOTES"]).open("a", buffering=1)  # noqa: SIM115

    def grant(self, request: Request) -> Lease | None:
        lease = super().grant(request)
        if lease:
            self._note("given")
        return lease

    def update(self, token: str, **changes: object) -> Any:
        holding = super().update(token, **changes)
        if holding.finished:
            self._note("freed")
        return holding

    def _note(self, what: str) -> None:
        self._notes.write(json.dumps([what, time.time()]) + "\n")


async def execute() -> None:
    """The executor's process."""
    for name, stand_in in {"Engine": NoEngine, "Ledger": TimedLedger}.items():
        setattr(executor, name, stand_in)
    settings = Settings.load()
    await executor.run_executor(await connect(settings), settings, "bench", Offer({"tiny": PLACES}))


class Bench:
    """One system with its Runs."""

    def __init__(self, client: Client, settings: Settings, pids: dict[str, int]) -> None:
        self._client = client
        self._settings = settings
        self._pids = pids
        store = Store.open(settings.store_url)
        (folder := settings.home / "project").mkdir()
        (folder / "data.txt").write_text("1\n")
        store.push("bench", folder, base=None, author="bench", message="one file")
        self._runs = Runs(client, settings, store)

    async def measure(self, number: int, through: int) -> dict[str, float]:
        """Queues so many Runs behind places that are taken, lets some through; what that took, by name."""
        already = len(self._notes("given"))
        held = [await self._start(HELD) for _ in range(PLACES)]
        while len(self._notes("given")) < already + PLACES:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        before = self._memory()
        begun = time.perf_counter()
        gate = asyncio.Semaphore(AT_ONCE)

        async def start() -> RunHandle:
            async with gate:
                return await self._start("0")

        queued = await asyncio.gather(*(start() for _ in range(number)))
        accepted = time.perf_counter() - begun
        while (await self._waiting()) < number:  # noqa: ASYNC110
            await asyncio.sleep(1)
        in_queue = time.perf_counter() - begun
        full = self._memory()
        waiting_events, waiting_bytes = await self._history(queued[-1])
        (self._settings.home / "go").touch()
        taken = already + PLACES
        while len(self._notes("given")) < taken + through:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)
        freed, given = self._notes("freed")[already:], self._notes("given")[taken:]
        waits = [1000 * (after - before) for before, after in zip(freed, given[:through], strict=False)]
        first = await held[0].result()
        events, size = await self._history(self._runs.get(first.run_id))
        return {
            "accepted, s": accepted,
            "accepted, Runs/s": number / accepted,
            "all in the tier's queue, s": in_queue,
            **{f"{name} before, MiB": before[name] for name in before},
            **{f"{name} with all queued, MiB": full[name] for name in full},
            **{f"{name} after, MiB": value for name, value in self._memory().items()},
            "free place to acknowledged, median, ms": statistics.median(waits),
            "free place to acknowledged, p99, ms": statistics.quantiles(waits, n=100)[98],
            "Runs/s through": through / (given[through - 1] - given[0]),
            "a waiting Run, events": waiting_events,
            "a waiting Run, bytes": waiting_bytes,
            "a Run, events": events,
            "a Run, bytes": size,
        }

    async def lengths(self) -> dict[str, float]:
        """The history of a command of one second, and of thirty."""
        found: dict[str, float] = {}
        handles = {seconds: await self._start(str(seconds)) for seconds in (1, 30)}
        for seconds, handle in handles.items():
            await handle.result()
            events, size = await self._history(handle)
            found |= {f"a command of {seconds} s, events": events, f"a command of {seconds} s, bytes": size}
        return found

    async def _start(self, command: str) -> RunHandle:
        return await self._runs.start({"project": "bench", "command": [command], "tier": "tiny"})

    async def _waiting(self) -> int:
        return next(one.waiting for one in await self._runs.backlog() if one.tier == "tiny")

    async def _history(self, handle: RunHandle) -> tuple[int, int]:
        description = await self._client.get_workflow_handle(handle.id).describe()
        info = description.raw_description.workflow_execution_info
        return info.history_length, info.history_size_bytes

    def _notes(self, what: str) -> list[float]:
        lines = map(json.loads, (self._settings.home / "notes").read_text().splitlines())
        return [at for said, at in lines if said == what]

    def _memory(self) -> dict[str, float]:
        """MiB that are the processes' own now."""
        found: dict[str, float] = {}
        for name, pid in self._pids.items():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found[name] = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
        return found


async def measured(number: int, through: int) -> dict[str, float]:
    """All numbers of a new system."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as processes:
        home = Path(folder)
        (home / "tiers.toml").write_text('tiny = {cores = 1, memory = "32MiB"}\n')
        (home / "notes").touch()
        settings = Settings(home=home, tiers=home / "tiers.toml")
        async with EmbeddedServer(settings) as server:
            environment = {
                "TEMPORAL_ADDRESS": server.address,
                "TEMPORAL_RUNS_HOME": str(home),
                "TEMPORAL_RUNS_TIERS": str(home / "tiers.toml"),
                "BENCHMARK_GO": str(home / "go"),
                "BENCHMARK_NOTES": str(home / "notes"),
            }
            ours = [sys.executable, "-m", "benchmarks.queue", "--execute"]
            pids = {
                "server": int((home / "temporal" / "server.pid").read_text()),
                "dispatcher": processes.enter_context(process("dispatcher", environment=environment)),
                "executor": processes.enter_context(process(*ours[1:], environment=environment, program=ours[0])),
            }
            bench = Bench(await connect(settings), settings, pids)
            lengths = await bench.lengths()
            return await bench.measure(number, through) | lengths


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--through", type=int, default=400, help="how many are let through")
    parser.add_argument("--execute", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.execute:
        await execute()
        return
    columns = [await measured(number, min(number, arguments.through)) for number in arguments.runs]
    print(f"{'Runs queued':45}" + "".join(f"{number:>12}" for number in arguments.runs))
    for name in columns[0]:
        print(f"{name:45}" + "".join(f"{column[name]:12.1f}" for column in columns))


if __name__ == "__main__":
    asyncio.run(main())
