"""The killing matrix: who dies × for how long × what the command does meanwhile.

A test starts a Run for each thing that a command may do, kills once, and looks at all of them in the end: state and
cause, one execution, the console byte for byte, the results, and that nothing is left behind. Victims that cannot be
in each other's way, as an executor, another's engine and a third one's network, die at the same moment.
"""

import asyncio
import json
import signal
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
import pytest_asyncio

from temporal_runs.client import RunHandle
from temporal_runs.settings import Settings
from temporal_runs.status import State
from tests.conftest import eventually
from tests.engines import EngineOfItsOwn
from tests.fleets import Fleet, Process, ended, fleet_of, require_nothing_left
from tests.networks import OwnNetwork
from tests.witness import check

TIERS = {"executor": "one", "engine": "two", "machine": "two", "network": "three", "dispatcher": "one", "server": "one"}
"""Where the Runs are that a victim's death concerns."""


@dataclass(frozen=True)
class Meanwhile:
    """What a command does while somebody is dead, and what its Run ends as."""

    does: str
    ending: str
    state: State
    code: str | None
    exit_code: int | None


MEANWHILE = (
    Meanwhile("goes on", "exit 0", State.SUCCEEDED, None, 0),
    Meanwhile("ends with 0", "exit 0", State.SUCCEEDED, None, 0),
    Meanwhile("ends with 3", "exit 3", State.FAILED, "exit_code", 3),
    Meanwhile("is removed", "exit 0", State.ERROR, "container_killed", None),
)
WITH_ITS_ENGINE = tuple(
    # Nobody can remove it while the engine is away. When that comes back it ends all that it finds running.
    Meanwhile(does, ending, State.ERROR, "docker_unavailable", None)
    for does, ending in (("goes on", "exit 0"), ("ends with 0", "exit 0"), ("ends with 3", "exit 3"))
)
OF_VICTIM = {"engine": WITH_ITS_ENGINE, "machine": WITH_ITS_ENGINE[:1]}


@dataclass(frozen=True)
class Case:
    """A Run that is under way when somebody dies."""

    victim: str
    meanwhile: Meanwhile
    handle: RunHandle
    project: str

    def __str__(self) -> str:
        return f"{self.victim} dies, the command {self.meanwhile.does}"


@dataclass
class Matrix:
    """Three executors: one on the machine's engine, one on another, one whose network can be cut."""

    fleet: Fleet
    engine: EngineOfItsOwn
    executor_of_engine: Process
    network: OwnNetwork

    async def kill(self, victim: str) -> None:
        match victim:
            case "executor":
                self.fleet.executor.kill()
            case "engine":
                self.engine.end(signal.SIGKILL)
            case "machine":
                self.executor_of_engine.kill()
                self.engine.pull_the_plug()
            case "network":
                self.network.cut()
            case "dispatcher":
                self.fleet.dispatcher.kill()
            case _:
                await self.fleet.server.kill()

    async def revive(self, victim: str) -> None:
        match victim:
            case "executor":
                self.fleet.executor.start()
            case "engine":
                await self.engine.start()
            case "machine":
                await self.engine.start()
                self.executor_of_engine.start()
            case "network":
                self.network.mend()
            case "dispatcher":
                self.fleet.dispatcher.start()
            case _:
                await self.fleet.server.start()

    async def begun(self, victim: str, meanwhile: Meanwhile) -> Case:
        project = self.fleet.project()
        handle = await self.fleet.witness(meanwhile.ending, project=project, tier=TIERS[victim])
        return Case(victim, meanwhile, handle, project)

    def let_happen(self, case: Case) -> None:
        """What the command does while somebody is dead."""
        if case.meanwhile.does.startswith("ends"):
            self.fleet.turn_switch(case.handle)
        elif case.meanwhile.does == "is removed":
            (container,) = self.fleet.containers(case.handle)
            container.remove(force=True)

    async def check(self, case: Case) -> None:
        """Raises AssertionError unless the Run is told as it was, and all of it is there."""
        expected, result = case.meanwhile, await ended(case.handle)
        assert (result.state, result.cause and result.cause.code) == (expected.state, expected.code), result.cause
        assert result.attempt == 1
        to_the_end = expected.exit_code is not None
        if to_the_end:
            assert result.exit_code == expected.exit_code
        files = self.fleet.files(case.project, result.output_commit or await self.recovered(case))
        console = await self.fleet.console(case.handle)
        check(case.handle.id, files, console, to_the_end=to_the_end, captured=to_the_end)
        marked = self.fleet.store.get(f"console/{case.handle.id}/{result.execution_id}/1/end")
        assert marked
        assert json.loads(marked) == {"bytes": len(console), "crc32": zlib.crc32(console), "losses": 0}

    async def recovered(self, case: Case) -> str:
        """Where results are of a Run whose engine came back after it was given up: a minute is the limit."""
        assert case.victim == "engine"
        return await eventually(lambda: self.fleet.store.head(case.project, f"recovered/{case.handle.id}/1"))


@pytest_asyncio.fixture(scope="module")
async def matrix(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Matrix]:
    with tempfile.TemporaryDirectory() as short:
        engine = EngineOfItsOwn(Path(short))
        try:
            client = await engine.start()
            client.images.load(b"".join(docker.from_env().images.get(image).save(named=image)))
            async with fleet_of(make_settings(), image, serve="one=4") as fleet:
                network = OwnNetwork(fleet)
                serving = "executor", "--id", "on-its-own-engine", "--serve", "two=4"
                on_its_own_engine = fleet.process(*serving, DOCKER_HOST=engine.address)
                serving = "executor", "--id", "behind-the-network", "--serve", "three=4"
                behind_the_network = fleet.process(*serving)
                network.join(behind_the_network)
                for process in (on_its_own_engine, behind_the_network):
                    process.start()
                yield Matrix(fleet, engine, on_its_own_engine, network)
                executors = (fleet.executor, on_its_own_engine, behind_the_network)
                for executor in executors:
                    executor.tell(signal.SIGTERM)
                assert [executor.ended() for executor in executors] == [0, 0, 0]
                fleet.engines.append(client)
                await require_nothing_left(fleet)
        finally:
            engine.remove()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seconds", [0, 20, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "victims",
    [("executor", "engine", "network"), ("machine", "dispatcher"), ("server",), ("dispatcher", "server")],
    ids=lambda victims: "+".join(victims),
)
async def test_somebody_dies(matrix: Matrix, victims: tuple[str, ...], seconds: float):
    concerned = {TIERS[victim]: victim for victim in victims}.values()
    cases = await asyncio.gather(
        *(matrix.begun(victim, meanwhile) for victim in concerned for meanwhile in OF_VICTIM.get(victim, MEANWHILE))
    )
    for victim in victims:
        await matrix.kill(victim)
    for case in cases:
        matrix.let_happen(case)
    await asyncio.sleep(seconds)
    for victim in victims:
        await matrix.revive(victim)
    for case in cases:
        matrix.fleet.turn_switch(case.handle)
    outcomes = await asyncio.gather(*map(matrix.check, cases), return_exceptions=True)
    wrong = [f"{case}: {outcome!r}" for case, outcome in zip(cases, outcomes, strict=True) if outcome]
    assert not wrong, "\n".join(wrong)
