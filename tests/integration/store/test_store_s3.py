"""The file store on a real S3 server: what must work there, and what is said when it does not."""

import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_runs.client import RunHandle
from temporal_runs.settings import Settings
from temporal_runs.status import State
from temporal_runs.store import Store, StoreUnavailable, sweep
from tests.conftest import System, eventually, running
from tests.dying import killed, killed_everywhere, obstore_is_audited
from tests.integration.store.conftest import BIN, S3, free_ports
from tests.unit.store.store_folders import Content, Desk, build, contents

pytestmark = pytest.mark.timeout(300)

ODD: dict[bytes, Content] = {
    b"a b+c%d?e#f~;": ("file", b"1", True),
    b"\xff\n\xc3\xa9": ("file", b"2", False),
    b"link": ("link", b"/etc/shadow"),
    b"empty": ("folder",),
    b"none": ("file", b"", False),
    b"d/medium": ("file", random.Random(1).randbytes(300_000), False),
    b"d/big": ("file", random.Random(2).randbytes(20 * 2**20), False),
}


@pytest.fixture
def desk(s3_url: Callable[[], str], tmp_path: Path) -> Desk:
    (tmp_path / "desk").mkdir()
    return Desk(Store.open(s3_url()), tmp_path / "desk")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of the server."""
    made: list[str] = []
    for name in ("get", "get_range", "put", "head", "list", "delete"):
        real = getattr(obstore, name)

        def counted(*arguments: Any, name: str = name, real: Callable[..., Any] = real, **more: Any) -> Any:
            made.append(name)
            return real(*arguments, **more)

        monkeypatch.setattr(obstore, name, counted)
    return made


def test_what_is_pushed_comes_back_as_it_was(desk: Desk):
    version = desk.push(ODD).version
    folder = desk.folder / "again"
    desk.store.checkout("p", version, folder)
    assert contents(folder) == {**ODD, b"d": ("folder",)}
    assert list(desk.store.verify()) == []


def test_of_those_who_create_a_document_at_once_one_does(s3_url: Callable[[], str]):
    store = Store.open(s3_url())
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda n: store.create("environments/ml/1.json", b"%d" % n), range(8)))
    assert sum(created) == 1
    assert store.get("environments/ml/1.json") == b"%d" % created.index(True)


def test_ten_thousand_small_files_are_a_few_dozen_requests(desk: Desk, requests: list[str]):
    shapes = random.Random(3)
    files: dict[bytes, Content] = {
        b"%02d/%04d" % (n % 100, n): ("file", shapes.randbytes(4096), False) for n in range(10_000)
    }
    version = desk.push(files).version
    assert len(requests) < 50
    requests.clear()
    held = desk.holds(version)
    assert len(requests) < 50
    assert {name: one for name, one in held.items() if one != ("folder",)} == files


def push_until_done(url: str, folder: Path) -> None:
    """One push, killed at every point; in a process that has not used obstore, whose threads a fork does not have."""
    obstore_is_audited()
    (folder / "desk").mkdir()

    def desk() -> Desk:
        return Desk(Store.open(url), folder / "desk")

    changed = build(folder / "changed", {**ODD, b"a": ("file", b"2", False)})
    first = build(folder / "first", {b"a": ("file", b"1", False), b"theirs": ("file", b"1", False)})

    def push_first() -> None:
        (folder / "base").write_text(desk().push_folder(first).version)

    def push() -> None:
        desk().push_folder(changed, (folder / "base").read_text())

    def look() -> None:
        store = Store.open(url)
        assert list(store.verify()) == []
        names = {entry.path for entry in store.entries("p", store.resolve("p", "latest"))}
        assert names in ({b"a", b"theirs"}, {b"a", b"d", *ODD})

    assert not killed(push_first, sys.maxsize)
    for after in killed_everywhere(push):
        if after % 5 == 0:  # each is a process that opens the store
            assert not killed(look, sys.maxsize)
    assert not killed(look, sys.maxsize)


def test_a_push_that_is_killed_anywhere_leaves_a_store_that_is_whole(s3_url: Callable[[], str], tmp_path: Path):
    pushing = multiprocessing.get_context("spawn").Process(target=push_until_done, args=(s3_url(), tmp_path))
    pushing.start()
    pushing.join()
    assert pushing.exitcode == 0


def land(url: str, name: str, folder: str) -> int:
    """What another process does."""
    desk = Desk(Store.open(url), Path(folder))
    base = desk.store.resolve("p", "base")
    desk.checkout(base, name)
    build(desk.folder / name, {b"made-" + name.encode(): ("file", name.encode(), False)})
    desk.land(name)
    return os.getpid()


def test_results_of_many_threads_and_processes_all_land(s3_url: Callable[[], str], tmp_path: Path):
    url = s3_url()
    (tmp_path / "desk").mkdir()
    desk = Desk(Store.open(url), tmp_path / "desk")
    desk.store.branch("p", "base", desk.push({b"a": ("file", b"1", False)}).version)
    folders = {name: tmp_path / name for name in (f"r{n}" for n in range(12))}
    for folder in folders.values():
        folder.mkdir()
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(6) as threads, spawn.Pool(3) as processes:
        work = [(url, name, str(folder)) for name, folder in folders.items()]
        elsewhere = processes.starmap_async(land, work[6:])
        list(threads.map(lambda one: land(*one), work[:6]))
        assert os.getpid() not in elsewhere.get(120)
    assert {name for name in desk.main() if name.startswith(b"made")} == {b"made-" + n.encode() for n in folders}
    assert list(desk.store.verify()) == []


def test_gc_removes_what_a_lost_push_left(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.push(ODD)
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("temporal_runs.store.landing.Landing.land", interrupted)
        desk.push({b"lost": ("file", b"lost" * 50_000, False)})
    assert desk.store.gc().objects == 0
    monkeypatch.setattr(sweep, "GRACE", timedelta(seconds=-60))
    assert desk.store.gc().objects == 3, "a content, a tree, the version"
    assert list(desk.store.verify()) == []


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


async def test_runs_have_their_files_there(
    server: WorkflowEnvironment,
    image: str,
    make_settings: Callable[..., Settings],
    s3_url: Callable[[], str],
):
    settings = make_settings(lease=20, store=s3_url(), task_queue="s3")
    async with running(server.client, settings, image, {"alone": 2}) as system:
        project = system.project({"a": "1", "d/b": "2"})
        first = await (await system.start("cat a d/b; echo 3 > d/c; rm a", project=project, tier="alone")).result()
        assert (first.results.added, first.results.deleted) == (1, 1)
        handle = await system.start("cat d/b d/c", project=project, tier="alone")
        await handle.result()
        assert await system.console(handle) == b"23\n"
        assert system.files(project) == {"d/b": b"2", "d/c": b"3\n"}


async def test_a_run_outlasts_a_store_that_is_slow(
    server: WorkflowEnvironment,
    image: str,
    make_settings: Callable[..., Settings],
    s3: S3,
    s3_url: Callable[[], str],
):
    settings = make_settings(lease=5, store=s3_url(), task_queue="s3")
    async with running(server.client, settings, image, {"alone": 2}) as system:
        project = system.project({"a": "1"})
        handle = await system.begun("cat a; echo 2 > b", project=project, tier="alone")
        with s3.stalled():
            system.let_go(handle)
            begun = await eventually(lambda: last_beat(system, handle))
            # It is heard of for longer than a lease: nobody takes it for dead.
            await eventually(lambda: last_beat(system, handle, begun + 2 * settings.lease))
        assert (await handle.result()).state is State.SUCCEEDED
        assert system.files(project)["b"] == b"2\n"


async def last_beat(system: System, handle: RunHandle, after: float = 0) -> float | None:
    """When the Run's activity was last heard of, if that was after a time."""
    description = await system.client.get_workflow_handle(handle.id).describe()
    beats = [one.last_heartbeat_time.ToNanoseconds() / 1e9 for one in description.raw_description.pending_activities]
    return max((beat for beat in beats if beat > after), default=None)


def test_a_server_that_dies_during_a_push_costs_that_push_alone(s3: S3, desk: Desk, monkeypatch: pytest.MonkeyPatch):
    first = desk.push(ODD).version
    begun = threading.Event()
    real = obstore.put

    def put(store: Any, key: str, *more: Any, **options: Any) -> Any:
        if key.startswith("b/"):
            begun.set()
        return real(store, key, *more, **options)

    monkeypatch.setattr(obstore, "put", put)
    more: dict[bytes, Content] = {
        b"more%d" % n: ("file", random.Random(n).randbytes(8 * 2**20), False) for n in range(30)
    }
    with ThreadPoolExecutor(1) as thread:
        pushing = thread.submit(desk.push, more, first)
        assert begun.wait(60)
        s3.kill()
        with pytest.raises(StoreUnavailable, match=r"could not .*Check its address"):
            pushing.result()
    with pytest.raises(StoreUnavailable):
        desk.store.resolve("p", "latest")
    s3.start()
    assert desk.store.resolve("p", "latest") == first
    assert list(desk.store.verify()) == []
    desk.push(more, first)
    assert set(desk.main()) == set(more)


def test_a_server_that_is_not_there_is_said_to_be(s3_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch):
    url = s3_url()
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(StoreUnavailable, match=r"could not .*Check its address"):
        Store.open(url)


def test_credentials_that_are_refused_are_said_to_be(s3_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch):
    url = s3_url()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreUnavailable, match=r"credentials") as refused:
        Store.open(url)
    assert "wrong" not in str(refused.value)


def test_credentials_that_may_only_read_are_said_to_be_too_few(
    s3_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    url = s3_url()
    Store.open(url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    with pytest.raises(StoreUnavailable, match=r"could not move tmp/probe-.*credentials"):
        Store.open(url)


def test_a_server_that_ignores_conditions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bucket").mkdir()
    [port] = free_ports(1)
    command = [BIN / "rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret", tmp_path]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert server.stderr
        for line in server.stderr:
            if b"Starting s3 server" in line:
                break
        with pytest.raises(StoreUnavailable, match=r"cannot keep concurrent results apart: it overwrites an object"):
            Store.open("s3://bucket/x")
    finally:
        server.kill()
        server.wait()
