"""What a command needs before it can act: settings, the store, Temporal. Each check says in one line what is missing.

Imported by commands when they run, never for the help.
"""

import asyncio
import os
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.runtime import Runtime, TelemetryConfig

from temporal_runs.cli.exits import UsageProblem
from temporal_runs.client import Runs
from temporal_runs.connection import Embedded, configured, connect
from temporal_runs.notices import Notice
from temporal_runs.settings import Settings
from temporal_runs.spec import ID_PATTERN, RunSpec
from temporal_runs.store import Store

T = TypeVar("T")


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    """Runs the work of a command."""
    return asyncio.run(work)


async def open_runs(settings: Settings) -> Runs:
    """The Runs of the server in use."""
    # The SDK would log each retry of a call; what matters of it comes as an error.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)), error_if_already_set=False)
    return Runs(await connect(settings), settings)


def require_tier(settings: Settings, spec: RunSpec) -> None:
    """Raises UsageProblem for a tier that does not exist, where this machine can know."""
    if settings.tiers is None and configured().address:
        # The tiers are those of the dispatcher over there; an unknown one ends the Run as `invalid_spec`.
        return
    if spec.tier not in settings.tier_table:
        raise UsageProblem(
            f"unknown tier {spec.tier!r}: there are {', '.join(settings.tier_table)} (TEMPORAL_RUNS_TIERS names others)"
        )


def open_store(settings: Settings) -> Store:
    """The file store; raises StoreError."""
    return Store.open(settings.store_url)


def readable_text(path: Path, what: str) -> str:
    """The text of a file; raises UsageProblem."""
    try:
        return path.read_text()
    except OSError as error:
        raise UsageProblem(f"{what} {path} cannot be read: {error.strerror}. Check the path and its rights.") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{what} {path} cannot be read: it is not UTF-8 text") from None


def readable_folder(folder: Path) -> Path:
    """The folder's real path; raises UsageProblem for what cannot be read as a project."""
    try:
        folder = folder.resolve(strict=True)
    except OSError as error:
        raise UsageProblem(f"{folder} cannot be read: {error.strerror}. Check the path and its rights.") from None
    if not folder.is_dir():
        raise UsageProblem(f"{folder} is not a folder: name the folder that holds the project's files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageProblem(f"{folder} cannot be read: change its rights, or name another folder")
    return folder


def require_modest(folder: Path) -> None:
    """Raises UsageProblem for the folders that nobody means to push because they happen to be there."""
    if folder in (Path(folder.anchor), Path.home()):
        raise UsageProblem(
            f"{folder} as a whole is no project: go to the folder of your project, or name the project with --project"
        )


def project_name(given: str | None, folder: Path) -> str:
    """The project's name: as given, else the folder's, made to fit."""
    if given is not None:
        if not re.fullmatch(ID_PATTERN, given):
            raise UsageProblem(
                f"{given!r} cannot be a project's name: use letters, digits, '.', '_' and '-', at most 63"
            )
        return given
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.name).strip("-_.")[:63]
    if not re.fullmatch(ID_PATTERN, name):
        raise UsageProblem(f"the folder {folder} gives no project name: name it with --project")
    return name


def notices(given: list[str]) -> list[Notice]:
    """Who is to be told of a Run's end; raises UsageProblem."""
    try:
        return [Notice.read(text) for text in given]
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageProblem(
            f"--notify: {problem['input']!r} is neither a URL nor an e-mail address, with outcomes after a `=`"
        ) from None


def web_address(settings: Settings, run_id: str, namespace: str) -> str | None:
    """Where the embedded server's Web UI shows a Run; None with any other server."""
    embedded = Embedded.read(settings)
    if embedded is None or configured().address:
        return None
    return f"{embedded.ui}/namespaces/{namespace}/workflows/{run_id}"
