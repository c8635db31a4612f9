"""What images cost a Run: on the machine, in the registry, to be built; shared by many; and beside its files.

    python -m benchmarks.images [--rounds 5] [--runs 20]

The baselines are `docker pull` and `docker build` of the same, with as much fresh content, in turns with ours. All goes
through a real registry on this machine (`scripts/test-tools` brings it), whose bodies come at a network's pace. Needs
the tests' small image (made by `make test`).
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.system import IMAGE, system
from temporal_runs.client import Runs
from temporal_runs.status import RunResult, State
from temporal_runs.store import Store
from tests.registries import Registry, Sick, push_new_image

MIB = 2**20
LAYERS, LAYER = 4, 8 * MIB
PACE = 16 * MIB
"""bytes a second, of each layer"""
SHORT, LONG = 4, 20
"""seconds of a build"""
FILES, FILE = 8000, 8 * 2**10
"""of a project that takes about as long to prepare as an image to pull"""


def docker(*arguments: str, given: str = "") -> str:
    """What docker's command line prints."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    return subprocess.run(
        ["docker", *arguments], input=given, env=environment, check=True, capture_output=True, text=True
    ).stdout


def seconds(*arguments: str, given: str = "") -> float:
    """What one of docker's commands takes."""
    begun = time.perf_counter()
    docker(*arguments, given=given)
    return time.perf_counter() - begun


@contextmanager
def registry() -> Generator[Sick]:
    """The door of a registry; at the end all of its images are removed from the machine."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        behind = Registry(Path(folder))
        behind.start()
        door = Sick(behind)
        try:
            yield door
        finally:
            # By their names: the base is the tests' image too.
            form = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}"
            names = [name for name in docker("images", "--digests", "--format", form).split() if "<none>" not in name]
            with suppress(subprocess.CalledProcessError):  # a repository's digests go with its last tag
                docker("rmi", *(name for name in names if name.startswith(f"{door.address}/")))
            door.close()
            behind.stop()


class Bench:
    """A system, the registry that it shares images by, and projects with little or much in them."""

    def __init__(self, runs: Runs, store: Store, folder: Path, door: Sick) -> None:
        self.runs = runs
        self.door = door
        self._store = store
        self._folder = folder
        self.base = f"{door.address}/base:1"
        docker("tag", IMAGE, self.base)
        docker("push", "--quiet", self.base)
        self.small = self.project(1, 2)

    def project(self, files: int, size: int) -> str:
        """A new project, with so many files of as many random bytes."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        folder = self._folder / name
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}").write_bytes(os.urandom(size))
        self._store.push(name, folder, base=None, author="bench", message="")
        return name

    def image(self) -> str:
        """A new one, that only the registry has."""
        self.door.heal()
        reference = push_new_image(self.door.address, layers=LAYERS, size=LAYER, base=IMAGE)
        self.door.slow(PACE)
        return reference

    def docker_build(self, length: int) -> float:
        """Seconds of a plain build."""
        dockerfile = "\n".join([f"FROM {self.base}", *instructions(length), ""])
        return seconds(
            "build", "--quiet", "--tag", f"{self.door.address}/{uuid.uuid4().hex[:8]}", "-", given=dockerfile
        )

    async def run(self, environment: dict[str, Any], project: str | None = None) -> RunResult:
        spec = {"project": project or self.small, "command": ["true"], "tier": "tiny", "environment": environment}
        return await (await self.runs.start(spec)).result()

    def unbuilt(self, length: int) -> dict[str, Any]:
        return {"base": self.base, "instructions": instructions(length)}

    async def pushed(self) -> list[str]:
        """Waits until no build is under way, with its push; all builds there have been."""
        client = self.runs.client
        builds = [one.id async for one in client.list_workflows("WorkflowType = 'Build'")]
        await asyncio.gather(*(client.get_workflow_handle(build).result() for build in builds))
        return builds

    async def builds(self, workflow: str) -> int:
        """How often a build has been begun."""
        history = await self.runs.client.get_workflow_handle(workflow).fetch_history()
        begun = [event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events]
        return begun.count("build")


def instructions(length: int) -> list[str]:
    """Those of an image that nobody has built yet: they take somewhat longer than so many seconds."""
    return [f"ENV NEW={uuid.uuid4().hex}", f"RUN head -c {LAYER} /dev/urandom > /made", f"RUN sleep {length}"]


def waited(result: RunResult) -> float:
    """Seconds from Scheduled to Running."""
    at = {change.state: change.at for change in result.history}
    return (at[State.RUNNING] - at[State.SCHEDULED]).total_seconds()


def report(what: str, ours: Sequence[float], baseline: Sequence[float], against: str) -> None:
    a, b = statistics.median(ours), statistics.median(baseline)
    print(f"{what:34} {a * 1000:8.0f} ms, {against} {b * 1000:8.0f} ms: {(a - b) * 1000:+6.0f} ms, x {a / b:.2f}")


async def one_by_one(bench: Bench, rounds: int) -> None:
    """Scheduled to Running, with the image in each of the three places."""
    there: list[float] = []
    pulls: list[float] = []
    docker_pulls: list[float] = []
    builds: list[float] = []
    docker_builds: list[float] = []

    async def ours() -> None:
        pulls.append(waited(await bench.run({"image": bench.image()})))
        builds.append(waited(await bench.run(bench.unbuilt(SHORT))))
        await bench.pushed()

    async def docker_s() -> None:
        docker_pulls.append(await asyncio.to_thread(seconds, "pull", "--quiet", bench.image()))
        docker_builds.append(await asyncio.to_thread(bench.docker_build, SHORT))

    for number in range(rounds):
        there.append(waited(await bench.run({"image": bench.base})))
        # Each goes first as often as the other.
        for one in (ours, docker_s) if number % 2 else (docker_s, ours):
            await one()
    print(f"Scheduled to Running, medians of {rounds}")
    print(f"{'image on the machine':34} {statistics.median(there) * 1000:8.0f} ms")
    report("image in the registry", pulls, docker_pulls, "docker pull")
    report("image to be built", builds, docker_builds, "docker build")


async def many_at_once(bench: Bench, rounds: int, runs: int) -> None:
    """Many Runs that need the same image, which nobody has built."""
    longest: list[float] = []
    alone: list[float] = []
    before = set(await bench.pushed())
    for _ in range(rounds):
        alone.append(await asyncio.to_thread(bench.docker_build, LONG))
        environment = bench.unbuilt(LONG)
        results = await asyncio.gather(*(bench.run(environment) for _ in range(runs)))
        longest.append(max(map(waited, results)))
        await bench.pushed()
    built = [await bench.builds(workflow) for workflow in set(await bench.pushed()) - before]
    print(f"{runs} Runs that need the same image at once: {sum(built)} builds in {rounds} rounds")
    report("longest wait", longest, alone, "docker build")


async def side_by_side(bench: Bench, rounds: int) -> None:
    """A Run with both new files and a new image, beside one with only the one, and only the other."""
    files: list[float] = []
    images: list[float] = []
    both: list[float] = []
    for _ in range(rounds):
        files.append(waited(await bench.run({"image": bench.base}, bench.project(FILES, FILE))))
        images.append(waited(await bench.run({"image": bench.image()})))
        both.append(waited(await bench.run({"image": bench.image()}, bench.project(FILES, FILE))))
    print(f"files and image together, medians of {rounds}")
    longer = [max(pair) for pair in zip(files, images, strict=True)]
    total = [sum(pair) for pair in zip(files, images, strict=True)]
    print(f"  files alone {statistics.median(files):.2f} s, image alone {statistics.median(images):.2f} s")
    report("  both", both, longer, "the longer")
    report("  both", both, total, "one after the other")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20, help="how many need the same image at once")
    arguments = parser.parse_args()
    with registry() as door:
        async with system(arguments.runs, registry=door.address) as (client, settings):
            store = Store.open(settings.store_url)
            bench = Bench(Runs(client, settings, store), store, settings.home, door)
            await one_by_one(bench, arguments.rounds)
            await many_at_once(bench, arguments.rounds, arguments.runs)
            await side_by_side(bench, arguments.rounds)


if __name__ == "__main__":
    asyncio.run(main())
