"""The metrics of a Run: what its command writes into `dominostats.json`, as Domino takes it. They stay small.

They go into the Run's history and are shown in tables, so that what is too big or not flat is none.
"""

import json
from typing import cast

from temporal_runs.status import Metric

FILE = "dominostats.json"
MOST_BYTES = 16 * 2**10
MOST = 100
LONGEST = 200
"""characters of a name or a text"""


class NoMetrics(ValueError):
    """The file is not what it should be; the message says why."""


def parsed(text: bytes) -> dict[str, Metric]:
    """The metrics in a file; raises NoMetrics."""
    if len(text) > MOST_BYTES:
        raise NoMetrics(f"{FILE} is ignored: it has more than {MOST_BYTES // 1024} KiB")
    try:
        given: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoMetrics(f"{FILE} is ignored: it is not JSON ({error})") from None
    if not isinstance(given, dict):
        raise NoMetrics(f"{FILE} is ignored: it should be an object of names and values")
    metrics = cast(dict[str, object], given)
    if len(metrics) > MOST:
        raise NoMetrics(f"{FILE} is ignored: it has {len(metrics)} metrics, and {MOST} can be kept")
    for name, value in metrics.items():
        if len(name) > LONGEST or not _is_metric(value):
            raise NoMetrics(f"{FILE} is ignored: {name[:LONGEST]!r} should be a number, a short text, true or false")
    return cast(dict[str, Metric], metrics)


def _is_metric(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST
    # Python's JSON has NaN, infinity and integers beyond a float's range; other languages' have not.
    return isinstance(value, int | float) and abs(value) < 1e300
