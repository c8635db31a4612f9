"""What goes wrong on an executor, translated into the codes of the table of causes: the one place that does."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
from temporalio.exceptions import ApplicationError

from temporal_runs.activities.command import EngineStaysAway
from temporal_runs.engine import (
    BuildFailed,
    EngineUnavailable,
    HostDiskFull,
    ImageNotFound,
    InvalidContainer,
    RegistryUnavailable,
)
from temporal_runs.environments import UnknownEnvironment
from temporal_runs.fields import InvalidSpec
from temporal_runs.registries import PasswordUnreadable
from temporal_runs.store import StoreCorrupt, StoreUnavailable, UnknownPath, UnknownProject, UnknownRevision
from temporal_runs.workflows.causes import CAUSES
from temporal_runs.workspaces import InTheWay, NotWhole

log = structlog.get_logger()


def fault(
    code: str, message: str, *, final: bool = False, again_after: float | None = None, **evidence: Any
) -> ApplicationError:
    """The failure of an activity, for `phases` to read. A user's fault is final; a platform's is tried again, after
    so many seconds where somebody asked for that."""
    return ApplicationError(
        message,
        evidence,
        type=code,
        non_retryable=final or CAUSES[code].blame == "user",
        next_retry_delay=timedelta(seconds=again_after) if again_after else None,
    )


@contextmanager
def faults(host: str) -> Iterator[None]:
    """Turns what the store, the engine, the machine and our bugs raise into faults that name the machine."""
    try:
        yield
    except ApplicationError:
        raise
    except Exception as error:
        log.warning("a fault", exc_info=error)
        # Without its chain: a failure of more than 4 kB is shown as "Failure exceeds size limit" while it is retried.
        raise _translated(error, host) from None


def _translated(error: Exception, host: str) -> Exception:
    match error:
        case UnknownProject() | UnknownRevision() | UnknownPath():
            return fault("invalid_spec", str(error))
        case InTheWay():
            return fault("invalid_spec", str(error), field="inputs")
        case UnknownEnvironment():
            return fault("invalid_spec", f"environment: {error}", field="environment")
        case InvalidSpec():
            return fault("invalid_spec", str(error), field=error.field)
        case StoreUnavailable():
            return fault("store_unavailable", str(error), host=host)
        case StoreCorrupt():
            return fault("store_corrupt", str(error), final=True, host=host)
        case NotWhole():
            return fault("executor_lost", str(error), final=True, began=False)
        case EngineStaysAway():
            return fault("docker_unavailable", str(error), final=True, host=host)
        case EngineUnavailable():
            return fault("docker_unavailable", str(error), host=host)
        case ImageNotFound():
            return fault("image_not_found", str(error))
        case RegistryUnavailable():
            return fault("registry_unavailable", str(error), again_after=error.retry_after, host=host)
        case PasswordUnreadable():
            return fault("registry_unavailable", str(error), host=host)
        case BuildFailed():
            return fault(
                "build_failed",
                f"line {error.line} of its environment's Dockerfile failed: {error.instruction}",
                instruction=error.instruction,
                line=error.line,
                last_lines=error.output,
            )
        case HostDiskFull():
            return fault("host_disk_full", str(error), host=host)
        case InvalidContainer():
            return fault("internal", f"the Docker engine refused the container: {error}", final=True, host=host)
        case OSError(errno=errno.ENOSPC):
            return fault("host_disk_full", f"the disk of {host} is full: {error}", host=host)
        case _:
            return fault("internal", f"{type(error).__name__}: {error}", host=host)
