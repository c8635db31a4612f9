"""Evidence: what the engine can tell of a container's life beside its state: signals, memory, resource usage."""

import json
import signal
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ._connection import TIMEOUT, Connection, Refused
from ._times import parsed
from .errors import ContainerMissing


@dataclass(frozen=True)
class KillEvent:
    """A signal that somebody had the engine send."""

    at: datetime
    signal: str
    """its name, as "TERM" """


@dataclass(frozen=True)
class Sample:
    """Resource usage at one moment. Memory is without the page cache that the kernel would give up: with it, whoever
    reads files has soon used all there is."""

    cpu_seconds: float
    memory_bytes: int
    read_bytes: int | None = None
    """from block devices, and so never what the page cache had; None where the engine does not tell"""
    written_bytes: int | None = None
    received_bytes: int | None = None
    """over its networks; None where it has none"""
    sent_bytes: int | None = None


class Evidence:
    """The evidence of one engine, which keeps no more than its last 256 events: ask soon."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def kills(self, name: str, since: datetime, until: datetime) -> list[KillEvent]:
        """The signals that the engine was asked to send to a container, oldest first; ours among them."""
        return [
            KillEvent(_at(event), _signal_name(event["Actor"]["Attributes"]["signal"]))
            for event in self._events(name, "kill", since, until)
        ]

    def ran_out_of_memory(self, name: str, since: datetime, until: datetime) -> bool:
        """Whether the engine saw the kernel kill in a container for its memory limit."""
        return bool(self._events(name, "oom", since, until))

    def began_at(self) -> datetime | None:
        """When the engine was started, to a few seconds; None where that cannot be told.

        It makes its bridge anew then, unless it has kept containers running (live-restore), which it does not harm.
        """
        try:
            return parsed(self._connection.ask(lambda api: api.inspect_network("bridge"))["Created"])
        except Refused:
            return None  # an engine without a bridge

    def sample(self, name: str) -> Sample | None:
        """Resource usage now; None where the container does not run.

        Takes milliseconds; up to a second with engines before 25, which look once a second (measured with 20.10).
        """
        try:
            stats: dict[str, Any] = self._connection.ask(lambda api: api.stats(name, stream=False, one_shot=True))
        except ContainerMissing:
            return None
        memory: dict[str, Any] = stats.get("memory_stats") or {}
        if "usage" not in memory:
            return None
        kinds: dict[str, int] = memory.get("stats") or {}
        cache = kinds.get("total_inactive_file", kinds.get("inactive_file", 0))
        return Sample(
            cpu_seconds=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            memory_bytes=max(0, memory["usage"] - cache),
            read_bytes=_disk_bytes(stats, "read"),
            written_bytes=_disk_bytes(stats, "write"),
            received_bytes=_network_bytes(stats, "rx_bytes"),
            sent_bytes=_network_bytes(stats, "tx_bytes"),
        )

    def _events(self, name: str, kind: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
        # A time to come would make the engine wait for it.
        until = min(until, datetime.now(UTC))
        params = {
            "since": f"{since.timestamp():.6f}",
            "until": f"{until.timestamp():.6f}",
            "filters": json.dumps({"type": ["container"], "container": [name], "event": [kind]}),
        }
        response = self._connection.stream("GET", "/events", params=params, timeout=TIMEOUT)
        with closing(self._connection.messages(response)) as events:
            # The engine's filter takes every container whose name begins so.
            return [event for event in events if event["Actor"]["Attributes"].get("name") == name]


def _disk_bytes(stats: dict[str, Any], kind: str) -> int | None:
    blocks: dict[str, Any] = stats.get("blkio_stats") or {}
    told: list[dict[str, Any]] | None = blocks.get("io_service_bytes_recursive")
    # On cgroup v1 "Read", on v2 "read".
    return None if told is None else sum(one["value"] for one in told if one["op"].lower() == kind)


def _network_bytes(stats: dict[str, Any], kind: str) -> int | None:
    networks: dict[str, dict[str, int]] | None = stats.get("networks")
    return None if networks is None else sum(one[kind] for one in networks.values())


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(event["timeNano"] / 1e9, UTC)


def _signal_name(number: str) -> str:
    with suppress(ValueError):
        return signal.Signals(int(number)).name.removeprefix("SIG")
    return number
