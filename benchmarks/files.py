"""What files cost: pushing, preparing and finishing, each beside a baseline that everybody knows.

    python -m benchmarks.files [--sets i ii iii flat] [--rounds 3] [--s3 s3://bucket/prefix]

Sets: i = 10,000 files of 4 KiB, ii = 100,000 of 1 KiB in 1,000 folders, iii = one of 4 GiB and 100 of 10 MiB, flat =
60,000 of 1 KiB in one folder. Ours and the baseline are measured in turns, warm, on the file system of --folder, after
a sync. Nothing is deleted before the end: ext4 is slow to make files where many were just deleted. The last table is of
whole activities, from the histories of real Runs; it needs root, a Docker engine, and the tests' small image (made by
`make test`). --s3 takes an empty place and the variables AWS_*.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
from blake3 import blake3
from obstore.store import ObjectStore, from_url

from benchmarks.system import IMAGE, activity_seconds, system
from temporal_runs.client import Runs
from temporal_runs.store import Store
from temporal_runs.workspaces import Cache, Workspace, Workspaces

OWNER = (1000, 1000)
SETS = ("i", "ii", "iii", "flat")
UNCHANGED = 5
"""Looks at a folder in which nothing changed, a round."""
CHANGED = 10
KIB, MIB = 2**10, 2**20

Times = dict[str, list[tuple[float, float]]]
"""Seconds of ours and of the baseline, by what was done."""


def contents(name: str) -> Iterator[tuple[str, int]]:
    """Path and size of each file of a set."""
    match name:
        case "i":
            yield from ((f"{n % 100:03}/{n:05}", 4 * KIB) for n in range(10_000))
        case "ii":
            yield from ((f"{n % 1000:04}/{n:06}", KIB) for n in range(100_000))
        case "flat":
            yield from ((f"{n:06}", KIB) for n in range(60_000))
        case _:
            yield "big", 4096 * MIB
            yield from ((f"{n:03}", 10 * MIB) for n in range(100))


def made(name: str, folder: Path) -> Path:
    """A set on disk."""
    noise = random.Random(name)
    for path, size in contents(name):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            for start in range(0, size, MIB):
                out.write(noise.randbytes(min(MIB, size - start)))
    # What changed within the clock's last ticks is looked at again by whoever remembers what a folder held.
    time.sleep(3)
    return folder


def timed(work: Callable[[], object]) -> float:
    """Seconds it takes, with nothing of what was written before still on its way to the disk."""
    os.sync()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def shell(command: str, *places: Path) -> None:
    subprocess.run(["sh", "-c", command, "sh", *map(str, places)], check=True)


def stat_walk(folder: str) -> None:
    """The least anybody can do who has to know what changed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                stat_walk(entry.path)


def link_loop(blobs: Path, source: Path, target: Path) -> float:
    """Seconds to link each file of the source, from the cache's shelves into folders that are made before."""
    there = [str(path) for path in blobs.glob("*/*")]
    random.Random(0).shuffle(there)
    found: list[tuple[str, str]] = []
    for top, _, names in os.walk(source):
        folder = target / Path(top).relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        found += [(there.pop(), str(folder / name)) for name in names]

    def link_all() -> None:
        for blob, name in found:
            os.link(blob, name)

    return timed(link_all)


def silent(files: int, size: int) -> None:
    pass


def change(workspace: Workspace, source: Path, name: str, folder: Path) -> list[Path]:
    """Appends to some of the files, as a command does; gives them."""
    assert workspace.overlay
    folder.mkdir()
    shell(f'mount -t overlay -o "$1" overlay "$2" # {name}', Path(workspace.overlay.options), folder)
    some = [path for path, _ in contents(name)][-CHANGED:]
    for path in some:
        with (folder / path).open("ab") as file:
            file.write(b"changed\n")
    shell('umount "$1"', folder)
    return [workspace.overlay.upper / path for path in some]


def hash_and_write(files: list[Path], folder: Path) -> None:
    """What cannot be saved: new contents are read, hashed and made durable."""
    folder.mkdir()
    for file in files:
        data = file.read_bytes()
        with (folder / blake3(data).hexdigest()).open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())


def one_round(name: str, source: Path, top: Path, times: Times) -> None:
    """Everything once, with a new store and a new cache."""
    store = Store.open(str(top / "store"))
    index = top / "index"

    def note(what: str, ours: float, baseline: float) -> None:
        times.setdefault(what, []).append((ours, baseline))

    (top / "tar").mkdir(parents=True)
    baseline = timed(lambda: shell('tar c -C "$1" . | tar x -C "$2"', source, top / "tar"))

    def push(base: str | None) -> str:
        return store.push("p", source, base=base, author="bench", message="", index=index).version

    version = ""

    def first() -> None:
        nonlocal version
        version = push(None)

    note("push, first time / tar|tar", timed(first), baseline)
    for _ in range(UNCHANGED):
        note("push, nothing changed / stat walk", timed(lambda: push(version)), timed(lambda: stat_walk(str(source))))

    cache = Cache(top / "cache", store, 2**50)
    spaces = Workspaces(top / "workspaces", cache, store, "overlay")
    baseline = timed(lambda: shell('cp -a "$1" "$2"', source, top / "copy"))
    note("prepare, cold / cp -a", timed(lambda: spaces.make("cold", "p", version, OWNER, silent)), baseline)
    note("prepare, cached / -", timed(lambda: spaces.make("cached", "p", version, OWNER, silent)), 0)

    cache.layers.drop_oldest(lambda: ())
    with multiprocessing.get_context("spawn").Pool(1) as elsewhere:  # its names are not to count as our memory
        baseline = elsewhere.apply(link_loop, (top / "cache" / "blobs", source, top / "links"))
    note(
        "prepare, files cached / os.link loop",
        timed(lambda: spaces.make("linked", "p", version, OWNER, silent)),
        baseline,
    )

    some = change(spaces.make("run", "p", version, OWNER, silent), source, name, top / "mounted")
    baseline = timed(lambda: hash_and_write(some, top / "written"))
    commit = ""

    def land() -> None:
        nonlocal commit
        take = spaces.take("run")
        commit = store.land("p", take, base=version, origin="run.x.1", author="b", message="", name="run").commit

    note(f"finish, {CHANGED} files changed / hash and write these", timed(land), baseline)
    note("prepare, after its parent / -", timed(lambda: spaces.make("next", "p", commit, OWNER, silent)), 0)
    note(
        "pull into an empty folder / cp -a",
        timed(lambda: store.checkout("p", version, top / "out")),
        baseline_of(times),
    )


def baseline_of(times: Times) -> float:
    return times["prepare, cold / cp -a"][-1][1]


def measure(name: str, folder: Path, rounds: int) -> None:
    """One set; in a process of its own, for its memory."""
    source = made(name, folder / "source")
    before = most_memory()
    times: Times = {}
    for number in range(rounds):
        one_round(name, source, folder / str(number), times)
        if name == "iii":
            shutil.rmtree(folder / str(number))
    report(f"set {name}, medians of {rounds} rounds", times, before, sum(1 for _ in contents(name)))


def most_memory() -> int:
    """Bytes this process had at most so far; its rusage would also count what its parent had."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * KIB


def report(title: str, times: Times, before: int, count: int) -> None:
    """What was measured, and the memory that this process took beyond what it had, by that many files."""
    print(title)
    for what, pairs in times.items():
        ours, baseline = (statistics.median(side) for side in zip(*pairs, strict=True))
        # Of each pair: what else the machine did at the time was done to both.
        ratio = statistics.median(one / other for one, other in pairs) if baseline else 0
        compared = f"{baseline * 1000:10,.1f} ms   x {ratio:.2f}" if baseline else ""
        print(f"  {what:52} {ours * 1000:10,.1f} ms {compared}")
    grown = most_memory() - before
    print(f"  {'memory, at most':52} {grown / MIB:10,.1f} MiB, {grown / count:,.0f} bytes a file", flush=True)


def to_s3_and_back(url: str, folder: Path, rounds: int) -> None:
    """Set i in packs, and one object a file by as many threads, in turns; in a process of its own, for its memory."""
    source = made("i", folder / "source")
    names = [path for path, _ in contents("i")]
    before = most_memory()
    times: Times = {}
    for number in range(rounds):
        store, plain = Store.open(f"{url}/{number}/store"), from_url(f"{url}/{number}/plain")
        back = folder / f"plain-{number}"
        for name in names:
            (back / name).parent.mkdir(parents=True, exist_ok=True)

        def ours(store: Store = store, back: Path = folder / f"back-{number}") -> None:
            version = store.push("p", source, base=None, author="bench", message="").version
            store.checkout("p", version, back)

        def there_and_back(name: str, plain: ObjectStore = plain, back: Path = back) -> None:
            obstore.put(plain, name, (source / name).read_bytes(), use_multipart=False)
            (back / name).write_bytes(obstore.get(plain, name).bytes())

        def baseline(one: Callable[[str], None] = there_and_back) -> None:
            with ThreadPoolExecutor(16) as threads:
                list(threads.map(one, names))

        times.setdefault("to S3 and back / one object a file", []).append((timed(ours), timed(baseline)))
    report(f"set i, medians of {rounds} rounds", times, before, len(names))


async def activities(name: str, folder: Path) -> None:
    """Whole activities of real Runs on a set: cold, cached, changing some files, after that one."""
    source = made(name, folder / "source")
    async with system(1) as (client, settings):
        store = Store.open(settings.store_url)
        store.push("p", source, base=None, author="bench", message="")
        runs = Runs(client, settings, store)
        some = " ".join(path for path, _ in contents(name) if path != "big")[: CHANGED * 12].split()[:CHANGED]
        for what, command in {
            "cold": "true",
            "cached": "true",
            f"changes {len(some)} files": f"for f in {' '.join(some)}; do echo changed >> $f; done",
            "after its parent": "true",
        }.items():
            spec = {"project": "p", "command": command, "tier": "tiny", "environment": {"image": IMAGE}}
            handle = await runs.start(spec)
            await handle.result()
            spent = await activity_seconds(client, handle.id)
            prepare, finish = spent["prepare"] * 1000, spent["finish"] * 1000
            print(f"  set {name}, Run {what:18} prepare {prepare:8.1f} ms, finish {finish:8.1f} ms")


def alone(work: Callable[..., None], *arguments: object) -> None:
    """Does it in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=[*SETS], choices=SETS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work [default: the folder for temporary files]")
    parser.add_argument("--s3", help="an empty place in a bucket")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in arguments.sets:
            alone(measure, name, Path(folder, name), arguments.rounds)
        for name in arguments.sets:
            asyncio.run(activities(name, Path(folder, f"runs-{name}")))
        if arguments.s3:
            alone(to_s3_and_back, arguments.s3, Path(folder, "s3"), arguments.rounds)


if __name__ == "__main__":
    main()
