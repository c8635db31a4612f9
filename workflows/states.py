"""Which state may follow which: the only place that knows (design, section 2)."""

from collections.abc import Mapping
from typing import Final, Literal

from temporal_runs.status import State

_ANY_TIME_BEFORE_FINISHING: Final = {State.STOP_REQUESTED, State.FAILED, State.ERROR}
_AFTER_ITS_EXECUTOR_WAS_LOST: Final = {State.QUEUED}

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    state: frozenset(following)
    for state, following in {
        State.QUEUED: {State.SCHEDULED} | _ANY_TIME_BEFORE_FINISHING,
        State.SCHEDULED: {State.PREPARING} | _ANY_TIME_BEFORE_FINISHING | _AFTER_ITS_EXECUTOR_WAS_LOST,
        State.PREPARING: {State.BUILDING, State.PULLING, State.RUNNING}
        | _ANY_TIME_BEFORE_FINISHING
        | _AFTER_ITS_EXECUTOR_WAS_LOST,
        State.BUILDING: {State.PULLING, State.RUNNING} | _ANY_TIME_BEFORE_FINISHING | _AFTER_ITS_EXECUTOR_WAS_LOST,
        State.PULLING: {State.RUNNING} | _ANY_TIME_BEFORE_FINISHING | _AFTER_ITS_EXECUTOR_WAS_LOST,
        State.RUNNING: {State.FINISHING} | _ANY_TIME_BEFORE_FINISHING | _AFTER_ITS_EXECUTOR_WAS_LOST,
        State.FINISHING: {State.SUCCEEDED, State.FAILED, State.ERROR},
        State.STOP_REQUESTED: {State.STOPPING, State.FINISHING, State.ERROR},
        State.STOPPING: {State.STOPPED, State.ERROR},
        State.SUCCEEDED: set[State](),
        State.FAILED: set[State](),
        State.ERROR: set[State](),
        State.STOPPED: set[State](),
    }.items()
}


class ForbiddenTransition(Exception):
    """A bug of ours: a Run was about to enter a state that may not follow the one it is in."""


def check_transition(before: State, after: State) -> None:
    """Raises ForbiddenTransition unless `after` may follow `before`."""
    if after not in TRANSITIONS[before]:
        raise ForbiddenTransition(f"{after} may not follow {before}")


def ending(state: State, blame: Literal["user", "platform"] | None) -> State:
    """The final state of a Run that ends in a state, by whose fault.

    One that was stopped does not fail: what is its user's fault only says what the stop found.
    """
    if blame == "platform":
        return State.ERROR
    if state in (State.STOP_REQUESTED, State.STOPPING):
        return State.STOPPED
    return State.FAILED if blame else State.SUCCEEDED
