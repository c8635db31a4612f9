"""What of a console somebody wants to see."""

from dataclasses import dataclass
from datetime import datetime

from .reader import ConsoleReader
from .segment import Printed, Stream


@dataclass(frozen=True)
class Selection:
    """All of it, where nothing else is said."""

    stream: Stream | None = None
    since: datetime | None = None
    """from what was printed then, or later, on"""
    tail: int | None = None
    """no more than so many lines of what has been printed so far"""

    def begin(self, reader: ConsoleReader) -> int:
        """The offset where it begins in a console as it is now. Reads no more than from there to the end."""
        if self.since is None and self.tail is None:
            return 0
        begin, line_ends = None, None
        for segment in reader.backwards():
            end = segment.end
            if begin is None:
                begin = end
            if self.tail == 0:
                return begin
            for piece in reversed([piece for piece in segment.printed() if isinstance(piece, Printed)]):
                if self.since and piece.at < self.since:
                    return begin
                begin = end = end - len(piece.data)
                if self.tail is None or not self.shows(piece):
                    continue
                if line_ends is None:
                    # The last line may have no end yet.
                    line_ends = self.tail + piece.data.endswith(b"\n")
                at = len(piece.data)
                while (at := piece.data.rfind(b"\n", 0, at)) >= 0:
                    line_ends -= 1
                    if line_ends == 0:
                        return begin + at + 1
        return begin or 0

    def shows(self, piece: Printed) -> bool:
        """Whether it was printed on a stream that is wanted."""
        return self.stream is None or piece.stream == self.stream


EVERYTHING = Selection()
