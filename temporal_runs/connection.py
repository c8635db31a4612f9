"""The way to Temporal: its own configuration says which server; where that is silent, it is the embedded one.

`TEMPORAL_ADDRESS` and the profiles of `temporal.toml` are read by `temporalio.envconfig`, so that Temporal's
tools and ours agree. The embedded server's address is what `temporal-runs up` wrote to `HOME/embedded.json`.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.client import Client, Plugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError

from temporal_runs.settings import Settings

CONNECT_WITHIN = 5.0
"""Seconds to try before we say that there is no server."""

START_IT = "start it with `temporal-runs up`, or set TEMPORAL_ADDRESS"


class ConnectionProblem(Exception):
    """No Temporal server; the message is one line that says what was tried and what to do."""


@dataclass(frozen=True)
class Embedded:
    """Where the embedded server of a HOME listens."""

    address: str
    ui: str
    cluster: str
    """the id in its database, by which it is told from another that has its port now"""

    @staticmethod
    def path(settings: Settings) -> Path:
        """The file in which `up` says it."""
        return settings.home / "embedded.json"

    @classmethod
    def read(cls, settings: Settings) -> "Embedded | None":
        """What `up` said last, or None."""
        try:
            said = json.loads(cls.path(settings).read_text())
            return cls(address=str(said["address"]), ui=str(said["ui"]), cluster=str(said["cluster"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def configured() -> ClientConfigProfile:
    """Temporal's own configuration; its `address` is None where it names no server."""
    try:
        return ClientConfigProfile.load()
    except Exception as error:
        # The bridge raises bare RuntimeErrors for whatever is wrong with file or profile.
        raise ConnectionProblem(
            f"Temporal's configuration cannot be used ({_one_line(error)}): correct temporal.toml or TEMPORAL_PROFILE"
        ) from error


async def connect(settings: Settings, plugins: Sequence[Plugin] = (), *, timeout: float = CONNECT_WITHIN) -> Client:
    """A client of the server in use; raises ConnectionProblem within `timeout` seconds."""
    profile = configured()
    config = profile.to_client_connect_config()
    embedded = None if profile.address else Embedded.read(settings)
    if embedded:
        address, advice = embedded.address, START_IT
    elif profile.address:
        address, advice = profile.address, "start that server, or correct TEMPORAL_ADDRESS or temporal.toml"
    else:
        raise ConnectionProblem(
            f"no Temporal server: TEMPORAL_ADDRESS is not set and {settings.home} has none; {START_IT}"
        )
    config["target_host"] = address
    try:
        async with asyncio.timeout(timeout):
            client = await Client.connect(
                **config,
                data_converter=pydantic_data_converter,
                plugins=plugins,
                connect_timeout=timedelta(seconds=timeout),
            )
            if embedded and await cluster_of(client) != embedded.cluster:
                raise ConnectionProblem(f"the server at {address} is not the one of {settings.home}: {START_IT}")
            return client
    except (RPCError, RuntimeError, TimeoutError, OSError, ValueError) as error:
        reason = f" ({_one_line(error)})" if profile.address and not isinstance(error, TimeoutError) else ""
        raise ConnectionProblem(f"no Temporal server answers at {address}{reason}: {advice}") from error


async def cluster_of(client: Client) -> str:
    """The id of the client's cluster, which its database keeps."""
    answer = await client.workflow_service.get_cluster_info(GetClusterInfoRequest())
    return answer.cluster_id


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
