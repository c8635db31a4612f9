"""A process of ours that kills itself at a point: `python -m tests.mortal POINT executor --id ID`.

A POINT is "before MODULE:CLASS.METHOD" or "after ..."; with a KEYWORD behind it, the first call that is given that. For
what takes milliseconds, in the middle of which no kill from outside would ever come.
"""

import functools
import importlib
import os
import signal
import sys
from typing import Any

from temporal_runs.cli import main


def die_at(point: str) -> None:
    """Puts the point into this process."""
    when, place, *keyword = point.split()
    module, _, path = place.partition(":")
    class_name, _, method_name = path.partition(".")
    owner = getattr(importlib.import_module(module), class_name)
    method = getattr(owner, method_name)

    @functools.wraps(method)
    def mortal(*arguments: Any, **more: Any) -> Any:
        is_it = all(name in more for name in keyword)
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        given = method(*arguments, **more)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return given

    setattr(owner, method_name, mortal)


if __name__ == "__main__":
    die_at(sys.argv.pop(1))
    main()
