"""Who a command runs as: never root. Its files belong to the same user."""

import os

from temporal_runs.steps import Inputs

COMMON_USER = 1000


def user_of(inputs: Inputs) -> tuple[int, int]:
    """User and group of a Run's command: as its spec says, else its tier.

    An executor that is not root can be nobody else, and runs every command as itself.
    """
    if os.getuid():
        return os.getuid(), os.getgid()
    user = inputs.spec.user or inputs.tier.user or COMMON_USER
    return user, user
