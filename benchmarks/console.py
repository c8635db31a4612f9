"""What it costs to keep consoles: a flood beside `docker logs -f`, the latency of a line, fifty commands at once.

    python -m benchmarks.console [--megabytes 1000] [--lines 300] [--at-once 50] [--seconds 30]

The flood is captured as an executor does it, into a store in a folder, and is then printed again by another container
for `docker logs -f > file`. Latency is the time from the engine's own stamp of a line to its arrival at `logs -f`.
Needs the tests' small image (made by `make test`), and tells the truth only on a machine that does nothing else.
"""

import argparse
import asyncio
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import Client

from benchmarks.system import IMAGE, system
from temporal_runs.activities.capture import Capture
from temporal_runs.activities.leases import Holding
from temporal_runs.client import Runs
from temporal_runs.console import ConsoleReader, Printed
from temporal_runs.engine import ContainerSpec, Engine
from temporal_runs.settings import Settings
from temporal_runs.status import State
from temporal_runs.steps import Attempt, Request, Tier
from temporal_runs.store import Store

MIB = 2**20
LINES = 100_000


@contextmanager
def started(engine: Engine, command: str, folder: str) -> Generator[Holding]:
    """A container as a Run would have it, and what an executor would hold of it."""
    image = engine.find_image(IMAGE)
    assert image, f"{IMAGE} is missing: make test makes it"
    attempt = Attempt(run_id=f"bench-{uuid.uuid4().hex[:8]}", execution_id="execution")
    tier = Tier(name="bench", cores=1, memory=64 * MIB)
    holding = Holding(token="", request=Request(attempt=attempt, tier=tier), granted_at=datetime.now(UTC))
    engine.create(
        ContainerSpec(
            name=holding.container,
            image=image.id,
            argv=["sh", "-c", command],
            env={},
            working_dir="/mnt",
            mounts={folder: "/mnt"},
            user="1000:1000",
            cores=tier.cores,
            memory=tier.memory,
            pids=64,
            shm=MIB,
        )
    )
    try:
        engine.start(holding.container)
        yield holding
    finally:
        engine.remove(holding.container)


async def flood(megabytes: int) -> None:
    """Time and CPU of a command that prints so much."""
    engine = Engine.connect()
    numbers = random.Random(1)
    text = "".join(
        f"step {step}: loss {numbers.random():.9f}, {numbers.randrange(1000, 2000)} samples a second\n"
        for step in range(LINES)
    )
    times = max(1, megabytes * 1_000_000 // len(text))
    size = times * len(text)
    command = f"for i in $(seq {times}); do cat lines; done"
    print(f"{size / 1e6:.0f} MB in {times * LINES} lines")
    with tempfile.TemporaryDirectory() as folder:
        write_lines(folder, text)
        with started(engine, command, folder) as holding:
            await capture(engine, Store.open(f"{folder}/store"), holding, size)
            print(f"        {stored(folder) / 1e6:.1f} MB stored")
        with started(engine, command, folder) as holding:
            docker_logs(holding.container, f"{folder}/console", size)


def write_lines(folder: str, text: str) -> None:
    """For the container's user to read."""
    Path(folder).chmod(0o755)
    (Path(folder) / "lines").write_text(text)


async def capture(engine: Engine, store: Store, holding: Holding, size: int) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    async with Capture(engine, store, holding, [], 2**40) as capture:
        await asyncio.to_thread(engine.wait, holding.container)
        alone = time.perf_counter() - begun
        printed = await capture.finish()
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(f"    ours: {took:.1f} s, {cpu:.1f} s CPU; the command ended after {alone:.1f} s")
    begun = time.perf_counter()
    reader = ConsoleReader(store, holding.request.attempt.run_id, "execution", 1)
    read = sum([len(segment.data) async for segment in reader.follow()])
    assert read == printed == size, "the console is not whole"
    print(f"        read again, and compared with its checksum, in {time.perf_counter() - begun:.1f} s")


def stored(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*.zst"))


def docker_logs(container: str, to: str, size: int) -> None:
    """The baseline."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    with Path(to).open("wb") as file:
        subprocess.run(["docker", "logs", "-f", container], stdout=file, check=True)
        took = time.perf_counter() - begun
        missing = size - file.tell()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"    docker logs -f: {took:.1f} s, {cpu:.1f} s CPU" + (f"; {missing} bytes are missing" if missing else ""))


async def latency(runs: Runs, lines: int) -> None:
    """From the engine's stamp of a line to its arrival at who follows."""
    handle = await runs.start(spec(f"for i in $(seq {lines}); do echo $i; sleep 0.1; done"))
    late = [
        (datetime.now(UTC) - piece.at).total_seconds()
        async for piece in handle.console(follow=True)
        if isinstance(piece, Printed)
    ]
    late.sort()
    print(
        f"a line is seen after {statistics.median(late):.2f} s (median), {late[len(late) * 99 // 100]:.2f} s (99 %), "
        f"{late[-1]:.2f} s at most, of {len(late)}"
    )


async def many(runs: Runs, at_once: int, seconds: float) -> None:
    """CPU and memory of an executor that watches so many commands, each of which prints a line a second."""
    handles = [await runs.start(spec("while :; do echo a line; sleep 1; done")) for _ in range(at_once)]
    for handle in handles:
        async for status in handle.watch():
            if status.state is State.RUNNING:
                break
    executor = executor_process()
    before = cpu_seconds(executor)
    await asyncio.sleep(seconds)
    cpu = (cpu_seconds(executor) - before) / seconds
    print(f"{at_once} Running: the executor takes {cpu:.2f} cores and {memory_mib(executor):.0f} MiB")
    for handle in handles:
        await handle.stop(commit_results=False)
    await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)


def spec(command: str) -> dict[str, object]:
    return {
        "project": "bench",
        "command": command,
        "tier": "tiny",
        "environment": {"image": IMAGE},
        "stop_grace": 0,
    }


def executor_process() -> int:
    """The id of the executor that the benchmark has started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return next(int(pid) for pid in children if b"executor" in Path(f"/proc/{pid}/cmdline").read_bytes())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def measure(client: Client, settings: Settings, arguments: argparse.Namespace) -> None:
    store = Store.open(settings.store_url)
    store.push("bench", Path(tempfile.mkdtemp(dir=settings.home)), base=None, author="bench", message="no files")
    runs = Runs(client, settings, store)
    await (await runs.start(spec("true"))).result()
    await latency(runs, arguments.lines)
    await many(runs, arguments.at_once, arguments.seconds)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    await flood(arguments.megabytes)
    async with system(arguments.at_once) as (client, settings):
        await measure(client, settings, arguments)


if __name__ == "__main__":
    asyncio.run(main())
