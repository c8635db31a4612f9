"""An engine that is not there, does not answer, or goes away in the middle."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from temporal_runs.engine import (
    Build,
    ContainerSpec,
    Dockerfile,
    Engine,
    EngineHangs,
    EngineUnavailable,
    Progress,
    _connection,
    _watch,
)

EngineAt = Callable[[str], Engine]
CALLS: dict[str, Callable[[Engine, ContainerSpec], object]] = {
    "ping": lambda engine, spec: engine.ping(),
    "capacity": lambda engine, spec: engine.capacity(),
    "create": lambda engine, spec: engine.create(spec),
    "start": lambda engine, spec: engine.start(spec.name),
    "state": lambda engine, spec: engine.state(spec.name),
    "wait": lambda engine, spec: engine.wait(spec.name),
    "signal": lambda engine, spec: engine.signal(spec.name, "TERM"),
    "remove": lambda engine, spec: engine.remove(spec.name),
    "containers": lambda engine, spec: engine.containers({}),
    "console": lambda engine, spec: list(engine.console(spec.name, follow=True)),
    "sample": lambda engine, spec: engine.sample(spec.name),
    "find_image": lambda engine, spec: engine.find_image(spec.image),
    "in_registry": lambda engine, spec: engine.in_registry("x:1"),
    "pull": lambda engine, spec: engine.pull("x:1", print),
    "push": lambda engine, spec: engine.push("x:1", print),
    "build": lambda engine, spec: engine.build(Build(Dockerfile("FROM x\n"), {"x": "x"}), "x:1", print),
}


@pytest.mark.parametrize("call", CALLS)
def test_nothing_listens(
    engine_at: EngineAt, make_spec: Callable[..., ContainerSpec], tmp_path: Path, call: str
) -> None:
    spec = make_spec("true")
    away = engine_at(f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnavailable, match=r"none\.sock does not answer .*: is dockerd running"):
        CALLS[call](away, spec)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "ssh://x@127.0.0.1:1"])
def test_an_address_that_leads_nowhere(engine_at: EngineAt, address: str) -> None:
    with pytest.raises(EngineUnavailable):
        engine_at(address).ping()


def test_an_engine_that_accepts_and_never_answers_is_away(engine_at: EngineAt, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        with pytest.raises(EngineUnavailable):
            engine_at(f"unix://{tmp_path}/silent.sock").ping()


def test_it_comes_back(engine_at: EngineAt, tmp_path: Path) -> None:
    path = tmp_path / "late.sock"
    engine = engine_at(f"unix://{path}")
    with pytest.raises(EngineUnavailable):
        engine.ping()
    path.symlink_to("/var/run/docker.sock")
    engine.ping()
    assert engine.capacity()


def test_a_wait_that_is_cut_off_is_no_exit(engine_at: EngineAt, cable, started: Callable[..., str]) -> None:
    name = started("sleep", "600")
    engine = engine_at(f"unix://{cable.path}")
    engine.ping()
    # The engine has no sign for "now I wait": cut while it does, or before, it must be the same.
    threading.Timer(0.3, cable.cut).start()
    with pytest.raises(EngineUnavailable):
        engine.wait(name)


def test_a_console_that_is_cut_off_is_not_at_its_end(engine_at: EngineAt, cable, started: Callable[..., str]) -> None:
    engine = engine_at(f"unix://{cable.path}")
    console = engine.console(started("sh", "-c", "echo up; sleep 600"), follow=True)
    assert next(console).data == b"up\n"
    cable.cut()
    with pytest.raises(EngineUnavailable):
        next(console)


def test_a_build_that_is_cut_off_is_nobody_s_failure(engine_at: EngineAt, cable, small_image: str, tag: str) -> None:
    engine = engine_at(f"unix://{cable.path}")

    def cut(progress: Progress) -> None:
        if progress.text.startswith("Step 2"):
            cable.cut()

    with pytest.raises(EngineUnavailable):
        engine.build(Build(Dockerfile("FROM x\nRUN sleep 600\n"), {"x": small_image}), tag, cut)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of hanging lasts for two seconds."""
    monkeypatch.setattr(_watch, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(_watch, "PATIENCE", 2)
    monkeypatch.setattr(_connection, "PING_TIMEOUT", 1)


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_hangs_is_told_from_one_that_went_away(
    engine_at: EngineAt, cable, started: Callable[..., str]
) -> None:
    name = started("sh", "-c", "echo up; sleep 600")
    engine = engine_at(f"unix://{cable.path}")
    others = threading.enumerate()
    console = engine.console(name, follow=True)
    assert next(console).data == b"up\n"
    cable.hang()
    with pytest.raises(EngineHangs):
        next(console)
    with pytest.raises(EngineHangs):
        engine.wait(name)
    console.close()
    cable.go_on()
    for watch in threading.enumerate():
        if watch.name == "watch over the engine" and watch not in others:
            watch.join(30)  # it ends when the engine is heard of
    engine.signal(name, "KILL")
    engine.wait(name)
    cable.cut()
    with pytest.raises(EngineUnavailable) as error:
        engine.ping()
    assert not isinstance(error.value, EngineHangs)
