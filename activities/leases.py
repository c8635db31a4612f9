"""The places an executor has given away, as its activities see them; `worker/ledger` keeps them on disk."""

from datetime import datetime
from typing import Literal, Protocol

from pydantic import Field

from temporal_runs.status import Model
from temporal_runs.steps import Assignment, Finished, Lease, Request


class Holding(Model):
    """What an executor knows of one lease it gave."""

    token: str
    request: Request
    granted_at: datetime
    gpus: list[int] = Field(default_factory=list[int])
    """numbers of the machine's GPUs that are its own"""
    assignment: Assignment | None = None
    """set by the first activity that comes for the lease, and thereby confirms it"""
    begun: bool = False
    """written before the container is started: from then on the command is never started again"""
    told_to_end: Literal["stop", "time_limit"] | None = None
    """written before the command is told to"""
    engine_lost_at: datetime | None = None
    """when the Docker engine was first seen to be away while the command ran"""
    commit_results: bool = True
    kept: Finished | None = None
    """set when console and results are safe, before anything is removed"""
    finished: Finished | None = None
    """set when everything but this record is gone; it takes no room, and answers a finish that is asked again"""

    @property
    def container(self) -> str:
        """The lease's own: another executor that shares this one's engine may be given the attempt, when nobody has
        heard that this one took it."""
        return f"run-{self.request.attempt.key}.{self.token[:8]}"

    @property
    def is_fenced(self) -> bool:
        """True where another executor may execute the command anew, once this lease has run out."""
        return self.assignment is not None and self.assignment.inputs.spec.on_executor_lost == "restart"


class LeaseOfAnother(Exception):
    """A lease was given to another execution of the Run: somebody has reset its workflow since."""


class Leases(Protocol):
    """What activities need of the ledger. Every change is on disk when its method returns."""

    def grant(self, request: Request) -> Lease | None:
        """A lease, where there is room; the same one again to an attempt that already has it."""
        ...

    def confirm(self, assignment: Assignment) -> Holding:
        """The holding of a lease that an activity has come for.

        Raises KeyError where it is not held, LeaseOfAnother.
        """
        ...

    def update(self, token: str, **changes: object) -> Holding: ...


class Fence(Protocol):
    """What keeps a command from running beside its replacement; `worker/fence` is it."""

    def guard(self, holding: Holding) -> None:
        """Sees to it that a container, which is yet to be started, ends with its lease, whatever becomes of us."""
        ...

    def has_fallen(self, holding: Holding) -> bool:
        """True where the container was ended because its lease ran out."""
        ...
