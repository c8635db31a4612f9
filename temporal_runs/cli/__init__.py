"""The command `temporal-runs`: text in, text out, and one exit code.

0 succeeded or done · 1 the Run Failed · 2 usage or environment · 3 the Run ended in Error · 4 the Run was Stopped.
Whatever goes wrong is said in one line on stderr, here and nowhere else.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn, cast

from temporal_runs.cli.exits import FOLLOWER_LEFT, USAGE


def main() -> NoReturn:
    """The entry point."""
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # The interpreter may abort on its way out after workers ran (sdk-python #300), which would change the code.
        os._exit(code)


def invoke(arguments: Sequence[str]) -> int:
    """Runs one command line; gives its exit code."""
    from temporal_runs.cli.app import command

    try:
        code = command().main(list(arguments) or ["--help"], prog_name="temporal-runs", standalone_mode=False)
    except KeyboardInterrupt:
        return FOLLOWER_LEFT
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        _say(_first(error))
        return USAGE
    return code if isinstance(code, int) else 0


def _first(error: Exception) -> Exception:
    """Of several tasks that failed together, the first one's error."""
    if isinstance(error, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return error


def _say(error: Exception) -> None:
    if os.environ.get("TEMPORAL_RUNS_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    sys.stderr.write(f"temporal-runs: {' '.join(_text(error).split())}\n")


def _text(error: Exception) -> str:
    usage = getattr(error, "format_message", None)
    if callable(usage):
        where = getattr(error, "ctx", None)
        return f"{usage()} Try `{where.command_path if where else 'temporal-runs'} --help`."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}. Check the path and its rights."
    # Errors of ours are written for their reader; what others raise is a bug of ours.
    if type(error).__module__.startswith("temporal_runs."):
        return str(error)
    return f"internal error, {type(error).__name__}: {error} (TEMPORAL_RUNS_TRACEBACK=1 shows where; please report it)"
