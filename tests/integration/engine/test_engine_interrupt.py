"""Work that says nothing is ended at once, from another thread; and the engine gives it up."""

import threading
import time
from collections.abc import Callable

import docker
import pytest

from temporal_runs.engine import Engine, Interrupt, Interrupted, Progress
from tests.builds import built_on
from tests.registries import Registry, Sick


class GaveUp(Exception): ...


def nothing(_: Progress) -> None: ...


def set_when(event: threading.Event, interrupt: Interrupt) -> None:
    """Interrupts from another thread once something has happened."""

    def wait() -> None:
        assert event.wait(60)
        interrupt.set()

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("how", ["interrupted", "abandoned"])
def test_a_build_that_sleeps(engine: Engine, small_image: str, tag: str, how: str) -> None:
    instruction = f"RUN sleep 600 # {tag}"
    interrupt, sleeps = Interrupt(), threading.Event()
    if how == "interrupted":
        set_when(sleeps, interrupt)

    def begun(progress: Progress) -> None:
        if "Running in" not in progress.text:
            return
        sleeps.set()
        if how == "abandoned":
            raise GaveUp

    with pytest.raises(Interrupted if how == "interrupted" else GaveUp):
        engine.build(built_on(engine, small_image, instruction), tag, begun, interrupt)
    assert engine.find_image(tag) is None
    gone = time.monotonic() + 30
    while any(tag in one["Command"] for one in docker.from_env().api.containers(all=True)):
        assert time.monotonic() < gone, "the engine builds on"
        time.sleep(0.05)


@pytest.mark.parametrize("place", ["layers", "manifests"])
def test_a_pull_from_a_registry_that_hangs(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: Callable[..., str], place: str
) -> None:
    reference = new_image(registry_of_its_own.address).replace(registry_of_its_own.address, sick.address)
    interrupt = Interrupt()
    set_when(sick.hangs, interrupt)
    # Before its first word the engine has not even answered that it pulls.
    if place == "layers":
        sick.hang_in_layers()
    else:
        sick.hang("manifests")
    with pytest.raises(Interrupted):
        engine.pull(reference, nothing, interrupt=interrupt)
    sick.heal()
    assert engine.find_image(reference) is None
    assert engine.pull(reference, nothing)


def test_a_push_to_a_registry_that_hangs(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: Callable[..., str]
) -> None:
    reference = new_image(registry_of_its_own.address)
    there = reference.replace(registry_of_its_own.address, sick.address).removesuffix(":1") + "-copy:1"
    engine.tag_image(engine.pull(reference, nothing).id, there)
    interrupt = Interrupt()
    set_when(sick.hangs, interrupt)
    sick.hang("blobs")
    with pytest.raises(Interrupted):
        engine.push(there, nothing, interrupt=interrupt)
    engine.remove_image(there)


def test_what_was_interrupted_before_never_begins(engine: Engine, registry: str) -> None:
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        engine.pull(f"{registry}/any:1", nothing, interrupt=interrupt)


def test_a_wait_for_a_command_that_goes_on(engine: Engine, started: Callable[..., str]) -> None:
    name = started("sleep", "600")
    interrupt, waits = Interrupt(), threading.Event()
    set_when(waits, interrupt)
    waits.set()
    with pytest.raises(Interrupted):
        engine.wait(name, interrupt)
    with pytest.raises(Interrupted):
        engine.wait(name, interrupt)
    state = engine.state(name)
    assert state and state.status == "running"
