"""Containers: made once by name, started, waited for, signalled, read, removed. What every container is denied is here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import docker.errors

from ._connection import translated
from .errors import ContainerMissing, EngineUnavailable, InvalidContainer

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
    """folder of the engine's machine → folder in the container"""
    user: str
    cores: float
    memory: int
    pids: int
    shm: int
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class ContainerState:
    """What the engine says of a container."""

    status: str
    exit_code: int | None
    out_of_memory: bool
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def has_ended(self) -> bool:
        return self.status in ("exited", "dead")


@dataclass(frozen=True)
class KillEvent:
    """A signal that somebody had the engine send."""

    at: datetime
    signal: str


@dataclass(frozen=True)
class Sample:
    """Resource usage at one moment."""

    cpu_seconds: float
    memory_bytes: int
    peak_memory_bytes: int | None


class Containers:
    """The containers of one engine."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def create(self, spec: ContainerSpec) -> None:
        """Makes a container, without privileges; one of that name is left as it is. Raises InvalidContainer."""
        with translated():
            host = self._api.create_host_config(
                binds=[f"{outside}:{inside}" for outside, inside in spec.mounts.items()],
                init=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                nano_cpus=int(spec.cores * 1e9),
                mem_limit=spec.memory,
                memswap_limit=spec.memory,
                pids_limit=spec.pids,
                shm_size=spec.shm,
                log_config=LOG,
            )
            try:
                self._api.create_container(
                    spec.image,
                    name=spec.name,
                    entrypoint=list(spec.argv),
                    environment=dict(spec.env),
                    working_dir=spec.working_dir,
                    user=spec.user,
                    labels=dict(spec.labels),
                    host_config=host,
                )
            except docker.errors.APIError as error:
                if error.status_code != 409:
                    raise

    def start(self, name: str) -> None:
        """Starts a container; one that runs is left alone. Raises InvalidContainer, ContainerMissing."""
        with translated():
            self._api.start(name)

    def state(self, name: str) -> ContainerState | None:
        """What the engine says of a container; None where there is none."""
        try:
            with translated():
                state = self._api.inspect_container(name)["State"]
        except ContainerMissing:
            return None
        ended = state["Status"] in ("exited", "dead")
        return ContainerState(
            status=state["Status"],
            exit_code=state["ExitCode"] if ended else None,
            out_of_memory=bool(state["OOMKilled"]),
            started_at=_time(state["StartedAt"]),
            finished_at=_time(state["FinishedAt"]),
        )

    def wait(self, name: str) -> None:
        """Blocks until a container does not run; raises ContainerMissing.

        Raises EngineUnavailable when the connection ends before: that says nothing of the container (moby #27987).
        """
        with translated():
            response = self._api._post(
                self._api._url("/containers/{0}/wait", name), params={"condition": "not-running"}, timeout=None
            )
            answer = self._api._result(response).strip()
        if not answer:
            raise EngineUnavailable(f"the Docker engine went away while {name} ran")

    def signal(self, name: str, signal: str) -> bool:
        """Sends TERM or KILL; False where the container does not run, or is not there."""
        try:
            with translated():
                self._api.kill(name, signal)
        except ContainerMissing:
            return False
        except InvalidContainer as error:
            if "is not running" in str(error):
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        """Removes a container with its anonymous volumes, running or not; one that is not there is fine."""
        try:
            with translated():
                self._api.remove_container(name, force=True, v=True)
        except ContainerMissing:
            pass
        except InvalidContainer as error:
            if "already in progress" not in str(error):
                raise

    def containers(self, labels: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
        """Names and labels of all containers, running or not, that have these labels."""
        with translated():
            found = self._api.containers(
                all=True, filters={"label": [f"{key}={value}" for key, value in labels.items()]}
            )
        return [(one["Names"][0].removeprefix("/"), one["Labels"]) for one in found]

    def console(self, name: str, *, follow: bool) -> Iterator[bytes]:
        """What a container has printed, from its first byte; with `follow` until it ends. Raises ContainerMissing."""
        with translated():
            stream = cast(Iterator[bytes], self._api.logs(name, stream=True, follow=follow))
            with closing(cast(Any, stream)):
                yield from stream

    def kills(self, name: str, since: datetime, until: datetime) -> list[KillEvent]:
        """The signals that the engine was asked to send to a container."""
        return [
            KillEvent(datetime.fromtimestamp(event["timeNano"] / 1e9, UTC), event["Actor"]["Attributes"]["signal"])
            for event in self._events(name, "kill", since, until)
        ]

    def ran_out_of_memory(self, name: str, since: datetime, until: datetime) -> bool:
        """Whether the engine saw the kernel kill in a container for its memory limit."""
        return bool(self._events(name, "oom", since, until))

    def sample(self, name: str) -> Sample | None:
        """Resource usage now; None where the container does not run."""
        try:
            with translated():
                stats = self._api.stats(name, stream=False, one_shot=True)
        except ContainerMissing:
            return None
        memory = stats.get("memory_stats") or {}
        if "usage" not in memory:
            return None
        return Sample(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, memory["usage"], memory.get("max_usage"))

    def _events(self, name: str, kind: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
        with translated():
            stream = self._api.events(
                since=int(since.timestamp()),
                until=int(until.timestamp()) + 1,
                filters={"container": name, "event": kind},
                decode=True,
            )
            return list(stream)


def _time(text: str) -> datetime | None:
    """Docker's time, nanoseconds cut to microseconds; None for its zero time."""
    if text.startswith("0001-"):
        return None
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00"))
