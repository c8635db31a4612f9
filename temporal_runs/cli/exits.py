"""What the exit codes mean, and the errors that only the command line knows."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporal_runs.status import State

DONE, FAILED, USAGE, ERROR, STOPPED = range(5)

FOLLOWER_LEFT = 130
"""ctrl-C while following: the Run goes on"""


class UsageProblem(Exception):
    """What cannot be done as it was asked; the message is one line that says what is wrong and what to do."""


def exit_code(state: "State") -> int:
    """The exit code that stands for a final state."""
    return {"Succeeded": DONE, "Failed": FAILED, "Error": ERROR, "Stopped": STOPPED}[state.value]
