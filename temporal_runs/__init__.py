"""Durable Runs of people's code on Temporal: what users import.

Everything is imported on first use: this module is also executed inside Temporal's workflow sandbox, and by
`temporal-runs --help`, and must stay light for both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from temporal_runs.client import RunError as RunError
    from temporal_runs.client import RunFailed as RunFailed
    from temporal_runs.client import RunHandle as RunHandle
    from temporal_runs.client import Runs as Runs
    from temporal_runs.client import RunStopped as RunStopped
    from temporal_runs.environment import Environment as Environment
    from temporal_runs.environments import Environments as Environments
    from temporal_runs.files import Files as Files
    from temporal_runs.plugin import RunsPlugin as RunsPlugin
    from temporal_runs.spec import RunSpec as RunSpec
    from temporal_runs.status import RunResult as RunResult
    from temporal_runs.status import RunStatus as RunStatus
    from temporal_runs.status import State as State

_HOMES = {
    "Environment": "environment",
    "Environments": "environments",
    "Files": "files",
    "RunError": "client",
    "RunFailed": "client",
    "RunHandle": "client",
    "RunResult": "status",
    "RunSpec": "spec",
    "RunStatus": "status",
    "RunStopped": "client",
    "Runs": "client",
    "RunsPlugin": "plugin",
    "State": "status",
}

__all__ = [  # noqa: RUF022 - what it is for, in the order one meets it
    "Runs",
    "RunHandle",
    "Files",
    "RunsPlugin",
    "RunSpec",
    "Environment",
    "Environments",
    "RunStatus",
    "RunResult",
    "State",
    "RunFailed",
    "RunError",
    "RunStopped",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
