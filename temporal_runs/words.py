"""What was done and used, as people say it, for whoever tells of a Run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporal_runs.status import Results, Usage
    from temporal_runs.steps import Exit, Workspace


def size(count: int) -> str:
    """Bytes: `16.4 KiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def memory(usage: "Usage") -> str:
    """The most that it used, beside what its tier lets it."""
    share = f" ({usage.memory_share:.0%} of its memory)" if usage.memory_share is not None else ""
    return f"{size(usage.peak_memory_bytes or 0)}{share}"


def brought(workspace: "Workspace") -> str:
    """What preparing had to do."""
    if not workspace.files:
        return "all files were there"
    return f"{plural(workspace.files, 'file')} brought ({size(workspace.bytes)})"


def ended(exit: "Exit") -> str:
    """How a command ended, and what it used."""
    usage = exit.usage
    said = [
        "no exit status" if exit.exit_code is None else f"exit status {exit.exit_code}",
        f"CPU {usage.cpu_seconds:.1f} s" if usage.cpu_seconds is not None else "",
        f"memory {memory(usage)}" if usage.peak_memory_bytes is not None else "",
    ]
    return ", ".join(part for part in said if part)


def changes(results: "Results") -> str:
    """What was changed in the project's files."""
    counted = f"{results.added:,} added, {results.changed:,} changed, {results.deleted:,} deleted"
    return f"{counted} ({size(results.bytes)})"
