"""The console of an attempt, kept in the store while it is written: what was printed, on which stream, when."""

from .reader import ConsoleReader
from .segment import End, Gap, Printed, Segment, Stream
from .selection import EVERYTHING, Selection
from .writer import ConsoleWriter

__all__ = ["EVERYTHING", "ConsoleReader", "ConsoleWriter", "End", "Gap", "Printed", "Segment", "Selection", "Stream"]
