"""Questions to Temporal, and what its refusals mean to a user of Runs."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.service import RPCError, RPCStatusCode

from temporal_runs.outcome import RunsError

ANSWER_WITHIN = timedelta(seconds=5)
"""How long one question may take."""


class UnknownRun(RunsError):
    """Neither Temporal nor the store knows a Run of this id."""


class NoDispatcher(RunsError):
    """Nobody answers for open Runs: no dispatcher polls the task queue."""


class ServerUnavailable(RunsError):
    """Temporal does not answer, or refuses."""


@contextmanager
def asking(workers: str = "") -> Generator[None]:
    """Translates Temporal's refusals; `workers` names who has to answer, where it is not the server alone."""
    try:
        yield
    except RPCError as error:
        no_answer = error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
        if workers and (no_answer or error.status == RPCStatusCode.FAILED_PRECONDITION):
            raise NoDispatcher(
                f"no dispatcher answers on {workers}: start one with `temporal-runs dispatcher` or `temporal-runs up`"
            ) from error
        if error.status == RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace"):
            raise UnknownRun(error.message) from error
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise RunsError(
                f"Temporal refuses ({error.message}): are the search attributes there? `temporal-runs setup`"
            ) from error
        raise ServerUnavailable(
            f"Temporal does not answer ({error.message}): start it with `temporal-runs up`, "
            "or correct TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE"
        ) from error
