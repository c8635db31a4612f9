"""Containers on the real engine."""

import statistics
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
import pytest

from temporal_runs.engine import ContainerMissing, ContainerSpec, Engine, ImageNotFound, InvalidContainer

Ended = Callable[..., str]
MakeSpec = Callable[..., ContainerSpec]


def exit_code(engine: Engine, name: str) -> int | None:
    state = engine.state(name)
    assert state
    return state.exit_code


def test_a_container_is_made_once_by_name(engine: Engine, make_spec: MakeSpec) -> None:
    begun = datetime.now(UTC)
    spec = make_spec("sh", "-c", "exit 3")
    engine.create(spec)
    engine.create(make_spec("true", name=spec.name))
    assert engine.state(spec.name).status == "created"
    assert engine.state(spec.name).exit_code is None
    engine.start(spec.name)
    engine.wait(spec.name)
    state = engine.state(spec.name)
    assert (state.status, state.exit_code, state.has_ended) == ("exited", 3, True)
    # Of a short command the engine may note the end before the start (measured: 2 ms).
    assert begun < state.started_at < datetime.now(UTC)
    assert begun < state.finished_at < datetime.now(UTC)


def test_a_command_is_never_started_twice(engine: Engine, ended: Ended) -> None:
    name = ended("echo", "once")
    before = engine.state(name)
    engine.start(name)
    assert engine.state(name) == before
    assert b"".join(engine.console(name, follow=False).bytes()) == b"once\n"


def test_many_threads_that_make_and_start_one_container_run_its_command_once(
    engine: Engine, make_spec: MakeSpec
) -> None:
    spec = make_spec("sh", "-c", "echo once; sleep 0.3")

    def make() -> None:
        engine.create(spec)
        engine.start(spec.name)
        engine.wait(spec.name)

    with ThreadPoolExecutor(20) as threads:
        for made in [threads.submit(make) for _ in range(20)]:
            made.result()
    assert b"".join(engine.console(spec.name, follow=False).bytes()) == b"once\n"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["sh", "-c", "kill -SEGV $$"], 139),
        (["sh", "-c", "kill -ABRT $$"], 134),
        (["sh", "-c", "exit 255"], 255),
        (["no-such-program"], 127),
        (["/mnt/no-such-script"], 127),
        (["/tmp"], 126),
    ],
)
def test_an_exit_status_tells_how_a_command_ended(engine: Engine, ended: Ended, argv: list[str], code: int) -> None:
    assert exit_code(engine, ended(*argv)) == code


def test_a_script_that_is_not_executable_ends_with_126(engine: Engine, ended: Ended, tmp_path: Path) -> None:
    (tmp_path / "script.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "script.sh").chmod(0o644)
    tmp_path.chmod(0o755)
    name = ended("/mnt/script.sh", mounts={str(tmp_path): "/mnt"})
    assert exit_code(engine, name) == 126
    assert b"Permission denied" in b"".join(engine.console(name, follow=False).bytes())


def test_the_image_s_entrypoint_is_not_used(engine: Engine, ended: Ended) -> None:
    assert b"".join(engine.console(ended("echo", "mine"), follow=False).bytes()) == b"mine\n"


def test_a_command_has_no_privileges(engine: Engine, ended: Ended) -> None:
    name = ended("cat", "/proc/self/status")
    status = b"".join(engine.console(name, follow=False).bytes()).decode()
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "Uid:\t1000" in status


def test_a_container_is_made_with_all_of_its_limits(engine: Engine, make_spec: MakeSpec) -> None:
    # No GPU is needed before it is started.
    spec = make_spec("true", memory=16 * 2**20, gpus=[0, 3])
    engine.create(spec)
    limits = docker.from_env().api.inspect_container(spec.name)["HostConfig"]
    assert limits["NanoCpus"] == 500_000_000
    assert limits["Memory"] == limits["MemorySwap"] == 16 * 2**20, "no swap beside the memory"
    assert limits["PidsLimit"] == 64
    assert limits["ShmSize"] == 2**20
    (gpus,) = limits["DeviceRequests"]
    assert (gpus["Count"], gpus["DeviceIDs"], gpus["Capabilities"]) == (0, ["0", "3"], [["gpu"]])


def test_processes_and_shared_memory_past_the_limit_are_refused(engine: Engine, ended: Ended) -> None:
    many = "for i in $(seq 100); do sleep 60 & done"
    assert b"can't fork" in b"".join(engine.console(ended("sh", "-c", many), follow=False).bytes())
    fill = "head -c {} /dev/zero > /dev/shm/file"
    assert [exit_code(engine, ended("sh", "-c", fill.format(size))) for size in (2**20, 2**21)] == [0, 1]


def test_memory_past_the_limit_is_seen(engine: Engine, ended: Ended) -> None:
    begun = datetime.now(UTC)
    name = ended("tail", "/dev/zero", memory=16 * 2**20)
    assert exit_code(engine, name) == 137
    now = datetime.now(UTC)
    assert engine.state(name).out_of_memory or engine.ran_out_of_memory(name, begun, now)
    assert engine.ran_out_of_memory(name, begun, now)
    assert not engine.kills(name, begun, now)


def test_a_kill_from_outside_is_seen_and_only_this_container_s(
    engine: Engine, started: Callable[..., str], make_spec: MakeSpec
) -> None:
    begun = datetime.now(UTC)
    name = started("sleep", "600")
    longer = started("sleep", "600", name=f"{name}1")
    docker.from_env().api.kill(name, "KILL")
    assert engine.signal(longer, "TERM")
    engine.wait(name)
    engine.wait(longer)
    assert exit_code(engine, name) == 137
    assert exit_code(engine, longer) == 143
    # A time to come must not make it wait.
    asked = datetime.now(UTC)
    events = engine.kills(name, begun, asked + timedelta(minutes=1))
    assert datetime.now(UTC) - asked < timedelta(seconds=2)
    assert [event.signal for event in events] == ["KILL"]
    assert begun <= events[0].at <= asked
    assert [event.signal for event in engine.kills(longer, begun, asked)] == ["TERM"]
    assert not engine.ran_out_of_memory(name, begun, asked)


def test_a_signal_to_what_does_not_run_is_no_error(engine: Engine, ended: Ended) -> None:
    assert engine.signal(ended("true"), "TERM") is False
    assert engine.signal("engine-test-none", "KILL") is False


def test_a_container_that_is_not_there(engine: Engine) -> None:
    assert engine.state("engine-test-none") is None
    assert engine.sample("engine-test-none") is None
    engine.remove("engine-test-none")
    with pytest.raises(ContainerMissing):
        engine.wait("engine-test-none")
    with pytest.raises(ContainerMissing):
        engine.start("engine-test-none")
    with pytest.raises(ContainerMissing):
        engine.console("engine-test-none", follow=True)


def test_wait_ends_when_somebody_removes_the_container(engine: Engine, started: Callable[..., str]) -> None:
    name = started("sleep", "600")
    waiting = threading.Thread(target=engine.wait, args=(name,))
    waiting.start()
    threads = [threading.Thread(target=engine.remove, args=(name,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in (*threads, waiting):
        thread.join(30)
        assert not thread.is_alive()
    assert engine.state(name) is None


def test_what_cannot_be_made_is_refused(engine: Engine, make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(InvalidContainer, match="does not exist"):
        engine.create(make_spec("true", mounts={str(tmp_path / "missing"): "/mnt"}))
    with pytest.raises(InvalidContainer, match="memory"):
        engine.create(make_spec("true", memory=1))
    with pytest.raises(ImageNotFound) as caught:
        engine.create(make_spec("true", image="sha256:" + "0" * 64))
    assert caught.value.reference == "sha256:" + "0" * 64


def test_a_mounted_folder_is_the_host_s_whatever_its_name(engine: Engine, ended: Ended, tmp_path: Path) -> None:
    folder = tmp_path / "a:b, c"
    folder.mkdir()
    folder.chmod(0o777)
    ended("touch", "/mnt/here", mounts={str(folder): "/mnt"})
    assert (folder / "here").exists()


def test_containers_are_found_by_their_labels(engine: Engine, make_spec: MakeSpec) -> None:
    one = make_spec("true", labels={"engine-test": "x", "of": "one"})
    other = make_spec("true", labels={"engine-test": "x", "of": "other"})
    for spec in (one, other):
        engine.create(spec)
    [(name, labels)] = engine.containers({"engine-test": "x", "of": "one"})
    assert name == one.name
    # The image's labels are among them.
    assert labels.items() >= one.labels.items()
    assert {name for name, _ in engine.containers({"engine-test": "x"})} == {one.name, other.name}


def test_a_sample_tells_what_a_command_uses(engine: Engine, started: Callable[..., str]) -> None:
    name = started("sh", "-c", "echo up; while true; do :; done")
    next(engine.console(name, follow=True))
    took: list[timedelta] = []
    samples = []
    for _ in range(5):
        begun = datetime.now(UTC)
        samples.append(engine.sample(name))
        took.append(datetime.now(UTC) - begun)
    assert all(samples)
    assert 0 <= samples[0].cpu_seconds <= samples[-1].cpu_seconds
    assert 0 < samples[-1].memory_bytes < 64 * 2**20
    # The engine's other way takes a second more.
    assert statistics.median(took) < timedelta(seconds=1.5)
    engine.signal(name, "KILL")
    engine.wait(name)
    assert engine.sample(name) is None


def test_capacity_is_the_machine_s(engine: Engine) -> None:
    cores, memory = engine.capacity()
    assert cores >= 1
    assert memory > 2**28
