"""What an overlay is mounted of."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Overlay:
    """The folders, the topmost lower one first."""

    lower: list[Path]
    upper: Path
    work: Path

    @property
    def options(self) -> str:
        """As mount(8) takes them; raises ValueError for folders whose names it cannot take.

        The marks of deletions are in the namespace `user.`, where `UpperScan` looks.
        """
        if any(set(str(path)) & set(":,\\") for path in (*self.lower, self.upper, self.work)):
            raise ValueError(f"{self.upper} has a character in it that a mount's options cannot have")
        lower = ":".join(str(path) for path in self.lower)
        return f"lowerdir={lower},upperdir={self.upper},workdir={self.work},userxattr"
