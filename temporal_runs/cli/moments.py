"""A moment as people write it: how long ago it was, or its time, this machine's where they name no zone."""

import re
from datetime import UTC, datetime, timedelta

from temporal_runs.cli import exits

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read(option: str, text: str | None) -> datetime | None:
    """The moment that is meant by 90s, 10m, 2h, 7d or a time; raises UsageProblem, which names the option."""
    if text is None:
        return None
    try:
        if age := re.fullmatch(r"([0-9]+)([smhd])", text):
            return datetime.now(UTC) - timedelta(seconds=int(age[1]) * UNITS[age[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise exits.UsageProblem(
            f"{option} {text}: write an age as 90s, 10m, 2h, 7d, or a time as 2026-01-31T12:00"
        ) from None
