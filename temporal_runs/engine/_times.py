"""Times, as the engine writes them."""

import re
from datetime import datetime


def parsed(text: str) -> datetime | None:
    """The engine's time, nanoseconds cut to microseconds; None for its zero time."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00"))
