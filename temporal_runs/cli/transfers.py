"""Files on their way to and from the store, and what is said of it."""

from typing import TYPE_CHECKING

from temporal_runs.cli import output

if TYPE_CHECKING:
    from pathlib import Path

    from temporal_runs.files import Files
    from temporal_runs.store import Changes, Pushed, Updated


def push(files: "Files", project: str, folder: "Path", message: str) -> "Pushed":
    """Pushes, with progress."""
    with output.progress(f"pushing {folder}") as progress:
        return files.push(project, folder, message=message, progress=progress)


def pull(files: "Files", project: str, folder: "Path", revision: str, *, force: bool = False) -> "Updated":
    """Pulls, with progress."""
    with output.progress(f"pulling {folder}") as progress:
        return files.pull(project, folder, revision, force=force, progress=progress)


def pushed_lines(project: str, pushed: "Pushed") -> list[str]:
    """What a push did, in words."""
    landed = pushed.landed
    lines = [f"{project}: commit {landed.commit[:12]}, {counts(landed.changes)}"]
    lines += [f"  changed here and in the project: {path}" for path in landed.conflicts]
    lines += [f"  skipped: {skipped}" for skipped in landed.skipped]
    return lines


def pushed_as_json(pushed: "Pushed") -> dict[str, object]:
    """What a push did, for programs."""
    from dataclasses import asdict

    landed = asdict(pushed.landed)
    return {"commit": landed.pop("commit"), "version": pushed.version, **landed}


def pulled_line(pulled: "Updated", folder: "Path", what: str) -> str:
    """What a pull did, in words."""
    files = f"{output.plural(pulled.written, 'file')} written, {pulled.deleted} deleted"
    return f"{folder}: {what}, {files} ({output.size(pulled.bytes)})"


def counts(changes: "Changes") -> str:
    """How much changed, in words."""
    files = f"{changes.added} added, {changes.changed} changed, {changes.deleted} deleted"
    return f"{files} ({output.size(changes.bytes)})"
