"""What a Run costs beside the container it runs: latency one at a time, and Runs per second, fifty at once.

    python -m benchmarks.overhead [--rounds 20] [--at-once 50]

The baseline is docker-py: create, start, wait and remove of the same container, with the same limits. Both are measured
in turns, in the same run, on a server started as `temporal-runs up` starts it; dispatcher and executor are processes of
their own. Needs the tests' small image (made by `make test`).
"""

import argparse
import asyncio
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from temporalio.client import Client

from benchmarks.system import IMAGE, activity_seconds, system
from temporal_runs.client import Runs
from temporal_runs.engine import ContainerSpec, Engine
from temporal_runs.settings import Settings
from temporal_runs.store import Store


def container(name: str, image: str, folder: Path) -> ContainerSpec:
    """The container that a Run of the tier would get."""
    return ContainerSpec(
        name=name,
        image=image,
        argv=["true"],
        env={},
        working_dir="/mnt",
        mounts={str(folder): "/mnt"},
        user="1000:1000",
        cores=0.5,
        memory=32 * 2**20,
        pids=4096,
        shm=64 * 2**20,
    )


def raw(engine: Engine, image: str, folder: Path) -> None:
    """The baseline: what docker-py takes for the container alone."""
    name = f"overhead-{uuid.uuid4().hex[:12]}"
    engine.create(container(name, image, folder))
    engine.start(name)
    engine.wait(name)
    engine.remove(name)


def report(name: str, ours: list[float], baseline: list[float]) -> None:
    a, b = statistics.median(ours), statistics.median(baseline)
    print(f"{name}: Run {a:.3f} s, docker-py {b:.3f} s, ratio {a / b:.2f} (medians of {len(ours)})")


async def phases(client: Client, run_ids: list[str]) -> None:
    """Where the time of a Run goes: from its own history, medians over the Runs."""
    spent = [await activity_seconds(client, run_id) for run_id in run_ids]
    for name in spent[0]:
        print(f"    {name:15} {statistics.median(one[name] for one in spent) * 1000:6.1f} ms")


async def measure(client: Client, settings: Settings, rounds: int, at_once: int) -> None:
    store = Store.open(settings.store_url)
    folder = settings.home / "project"
    folder.mkdir()
    (folder / "data.txt").write_text("1\n")
    store.push("bench", folder, base=None, author="bench", message="one file")
    engine = Engine.connect()
    found = engine.find_image(IMAGE)
    assert found, f"{IMAGE} is missing: make test makes it"
    runs = Runs(client, settings, store)
    spec = {"project": "bench", "command": ["true"], "tier": "tiny", "environment": {"image": IMAGE}}

    async def one() -> str:
        handle = await runs.start(spec)
        await handle.result()
        return handle.id

    def timed_raw() -> None:
        raw(engine, found.id, folder)

    for _ in range(3):
        await one()
        timed_raw()
    ours: list[float] = []
    baseline: list[float] = []
    ids: list[str] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        ids.append(await one())
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        await asyncio.to_thread(timed_raw)
        baseline.append(time.perf_counter() - begun)
    report("one at a time, start to Succeeded", ours, baseline)
    await phases(client, ids)

    def all_raw(pool: ThreadPoolExecutor) -> None:
        for container in [pool.submit(timed_raw) for _ in range(at_once)]:
            container.result()

    ours_rates: list[float] = []
    baseline_rates: list[float] = []
    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(3):
            begun = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(at_once)))
            ours_rates.append(at_once / (time.perf_counter() - begun))
            begun = time.perf_counter()
            await asyncio.to_thread(all_raw, pool)
            baseline_rates.append(at_once / (time.perf_counter() - begun))
    a, b = statistics.median(ours_rates), statistics.median(baseline_rates)
    print(f"{at_once} at once: {a:.1f} Runs/s, docker-py {b:.1f}/s, ratio {a / b:.2f} (medians of 3)")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=50)
    arguments = parser.parse_args()
    async with system(arguments.at_once) as (client, settings):
        await measure(client, settings, arguments.rounds, arguments.at_once)


if __name__ == "__main__":
    asyncio.run(main())
