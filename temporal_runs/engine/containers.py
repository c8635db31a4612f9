"""Containers: made once by name, started once, waited for, signalled, read, removed. What every one is denied is here.

Every container has an init (tini), measured with Docker 20.10: a program that is not there ends it with 127 and one
that is not executable with 126, and a line "[FATAL tini (7)] exec NAME failed: REASON" on stderr; a command that dies
of signal n ends it with 128 + n; starting it succeeds in all three.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from docker.types import DeviceRequest, Mount

from ._connection import TIMEOUT, Connection, Refused
from ._times import parsed
from .console import Console
from .errors import ContainerMissing, EngineError, ImageNotFound, Interrupted, InvalidContainer
from .interrupt import Interrupt

LOG = {"Type": "local", "Config": {"max-size": "1g", "max-file": "2", "compress": "false"}}
"""Of the drivers that can be read back, `local` keeps bytes that are not UTF-8; the engine's default may be `none`."""


@dataclass(frozen=True)
class ContainerSpec:
    """A container to be made. `argv` replaces the image's entrypoint too, so that it is what runs."""

    name: str
    image: str
    argv: Sequence[str]
    env: Mapping[str, str]
    working_dir: str
    mounts: Mapping[str, str]
    """folder of the engine's machine, which must be there → folder in the container, writable"""
    user: str
    """"uid:gid" """
    cores: float
    memory: int
    """bytes; there is no swap beside it"""
    pids: int
    shm: int
    """bytes of /dev/shm"""
    gpus: Sequence[int] = ()
    """numbers of the machine's GPUs that it gets; Docker itself gives the same ones to everybody who asks for some"""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    volumes: Mapping[str, str] = field(default_factory=dict[str, str])
    """name of a volume → folder in the container, writable"""
    read_only: Mapping[str, str] = field(default_factory=dict[str, str])
    """folder in the container → folder of the engine's machine, which must be there"""


@dataclass(frozen=True)
class ContainerState:
    """What the engine says of a container."""

    status: str
    """created, running, paused, restarting, removing, exited or dead"""
    exit_code: int | None
    """None until it has ended"""
    out_of_memory: bool
    """the engine saw the kernel kill in it for its limit; not always set (moby #38352)"""
    started_at: datetime | None
    finished_at: datetime | None
    error: str = ""
    """why it could not be started"""

    @property
    def has_ended(self) -> bool:
        return self.status in ("exited", "dead")


class Containers:
    """The containers of one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, spec: ContainerSpec) -> None:
        """Makes a container, without privileges; one of that name is left as it is.

        Raises ImageNotFound, InvalidContainer.
        """
        deadline = time.monotonic() + TIMEOUT
        while not self._made(spec):
            # The name is taken before the container is there: somebody else is making it, and may fail to.
            if time.monotonic() > deadline:
                raise EngineError(f"the name {spec.name} is taken, and there is no container of that name")
            time.sleep(0.02)

    def start(self, name: str) -> None:
        """Starts a container; one that has ever been started is left alone, whatever has become of it.

        Raises InvalidContainer, ContainerMissing. (The engine's own start runs an ended container's command again.)
        """
        state = self.state(name)
        if state and state.status != "created":
            return
        try:
            self._connection.ask(lambda api: api.start(name))
        except Refused as error:
            raise _invalid(error) from None

    def state(self, name: str) -> ContainerState | None:
        """What the engine says of a container; None where there is none."""
        try:
            state: dict[str, Any] = self._connection.ask(lambda api: api.inspect_container(name))["State"]
        except ContainerMissing:
            return None
        ended = state["Status"] in ("exited", "dead")
        return ContainerState(
            status=state["Status"],
            exit_code=state["ExitCode"] if ended else None,
            out_of_memory=bool(state["OOMKilled"]),
            started_at=parsed(state["StartedAt"]),
            finished_at=parsed(state["FinishedAt"]),
            error=state.get("Error", ""),
        )

    def environment(self, name: str) -> dict[str, str]:
        """The variables that a container was made with, its image's too; raises ContainerMissing."""
        variables: list[str] = self._connection.ask(lambda api: api.inspect_container(name))["Config"]["Env"] or []
        return dict(variable.split("=", 1) for variable in variables if "=" in variable)

    def wait(self, name: str, interrupt: Interrupt | None = None) -> None:
        """Blocks until a container does not run (one that has not been started does not); raises ContainerMissing.

        Raises EngineUnavailable when the connection ends before: that says nothing of the container (moby #27987).
        Raises Interrupted.
        """
        self._wait(name, "not-running", interrupt)

    def signal(self, name: str, signal: str) -> bool:
        """Sends TERM, KILL, ...; False where the container does not run, or is not there."""
        try:
            self._connection.ask(lambda api: api.kill(name, signal))
        except ContainerMissing:
            return False
        except Refused as error:
            if error.status == 409 and "is not running" in str(error):
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        """Removes a container with its anonymous volumes, running or not; one that is not there is fine."""
        try:
            self._connection.ask(lambda api: api.remove_container(name, force=True, v=True))
        except ContainerMissing:
            pass
        except Refused as error:
            if error.status != 409 or "already in progress" not in str(error):
                raise
            with suppress(ContainerMissing):
                self._wait(name, "removed")

    def containers(self, labels: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
        """Names and labels of all containers, running or not, that have these labels."""
        wanted = {"label": [f"{key}={value}" for key, value in labels.items()]}
        found = self._connection.ask(lambda api: api.containers(all=True, filters=wanted))
        # One that is just being removed has lost its name.
        return [(one["Names"][0].removeprefix("/"), one["Labels"]) for one in found if one["Names"]]

    def console(self, name: str, *, follow: bool, after: str = "") -> Console:
        """What a container has printed, from its first byte or behind a piece's mark; with `follow` until it ends.

        Raises ContainerMissing.
        """
        return Console(self._connection, name, follow=follow, after=after)

    def _made(self, spec: ContainerSpec) -> bool:
        try:
            self._connection.ask(lambda api: api.create_container_from_config(_config(spec, api), spec.name))
        except ImageNotFound as error:
            raise ImageNotFound(str(error), spec.image) from None
        except Refused as error:
            if error.status == 409 and "already in use" in str(error):
                return self.state(spec.name) is not None
            raise _invalid(error) from None
        return True

    def _wait(self, name: str, condition: str, interrupt: Interrupt | None = None) -> None:
        response = self._connection.stream(
            "POST", "/containers/{0}/wait", name, params={"condition": condition}, interrupt=interrupt
        )
        if not list(self._connection.messages(response, interrupt)):
            if interrupt and interrupt.is_set:
                raise Interrupted("interrupted by whoever wanted it")
            raise self._connection.unavailable(EOFError(f"it ended its answer, before {name} had ended"))


def _config(spec: ContainerSpec, api: Any) -> Any:
    host = api.create_host_config(
        # Unlike `binds`, these are refused when the folder is not there, and take a colon in its name.
        mounts=[
            *(Mount(target=inside, source=folder, type="bind") for folder, inside in spec.mounts.items()),
            # One that is not there, the engine makes: it is then found by its labels as well.
            *(
                Mount(target=inside, source=name, type="volume", no_copy=True, labels=dict(spec.labels))
                for name, inside in spec.volumes.items()
            ),
            *(Mount(inside, folder, type="bind", read_only=True) for inside, folder in spec.read_only.items()),
        ],
        init=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        nano_cpus=round(spec.cores * 1e9),
        mem_limit=spec.memory,
        memswap_limit=spec.memory,
        pids_limit=spec.pids,
        shm_size=spec.shm,
        device_requests=[DeviceRequest(device_ids=[str(gpu) for gpu in spec.gpus], capabilities=[["gpu"]])]
        if spec.gpus
        else None,
        log_config=LOG,
    )
    return api.create_container_config(
        spec.image,
        None,
        entrypoint=list(spec.argv),
        environment=dict(spec.env),
        working_dir=spec.working_dir,
        user=spec.user,
        labels=dict(spec.labels),
        host_config=host,
    )


def _invalid(error: Refused) -> EngineError:
    """The engine's own trouble (5xx) is none of the container's."""
    return InvalidContainer(str(error)) if error.status < 500 else error
