"""`temporal-runs logs`: what the command has printed, its own bytes; what there is to say about them goes to stderr."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from temporal_runs.console import Gap, Printed, Stream

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def logs(
    id: Annotated[str, typer.Argument(metavar="ID", help="The Run's id.", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the command has ended.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only what it printed on stdout.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what it printed on stderr.")] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Begin each line with its time.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="AGE|TIME", help="Only from then on: 90s, 10m, 2h, or 2026-01-31T12:00.")
    ] = None,
    tail: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Only the last N lines, and what follows.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document that holds the text.")] = False,
) -> int:
    """Print what the command has printed: its own bytes, and nothing else."""
    from temporal_runs.cli import output, session
    from temporal_runs.cli.follow import stdout_bytes
    from temporal_runs.console import Selection
    from temporal_runs.settings import Settings

    stream: Stream | None = None
    if stdout != stderr:
        stream = "stdout" if stdout else "stderr"
    selection = Selection(stream, None if since is None else moment(since), tail)

    async def work() -> int:
        handle = (await session.open_runs(Settings.load())).get(id)
        text = _text(handle.console(follow, selection), timestamps=timestamps)
        if as_json:
            console = b"".join([piece async for piece in text])
            output.print_json({"run_id": id, "console": console.decode(errors="replace"), "bytes": len(console)})
        else:
            stream = stdout_bytes()
            async for piece in text:
                stream.write(piece)
                stream.flush()
        return exits.DONE

    return session.in_loop(work())


def moment(text: str) -> datetime:
    """The time that an age (90s, 10m, 2h, 1d) or a time means, this machine's where it names no zone."""
    try:
        if age := re.fullmatch(r"(\d{1,9})([smhd])", text):
            return datetime.now(UTC) - timedelta(seconds=int(age[1]) * UNITS[age[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise exits.UsageProblem(
            f"--since {text}: write an age as 90s, 10m, 2h, 1d, or a time as 2026-01-31T12:00"
        ) from None


async def _text(pieces: "AsyncIterator[Printed | Gap]", *, timestamps: bool) -> AsyncIterator[bytes]:
    """The bytes of the pieces. Of those that are missing it says on stderr how many they are."""
    from temporal_runs.cli import output
    from temporal_runs.console import Gap

    stamps = _Stamps()
    async for piece in pieces:
        if isinstance(piece, Gap):
            size = "an unknown number of bytes" if piece.bytes is None else output.size(piece.bytes)
            why = "lost" if piece.bytes is None else "not kept, for the console's cap"
            output.on_stderr().print(f"[... {size} {why} ...]")
        else:
            yield stamps.put(piece) if timestamps else piece.data


class _Stamps:
    """Begins lines with their time; each stream has its own lines."""

    def __init__(self) -> None:
        self._in_line = {"stdout": False, "stderr": False}

    def put(self, piece: "Printed") -> bytes:
        stamp = piece.at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode() + b" "
        text = piece.data.replace(b"\n", b"\n" + stamp)
        begun, self._in_line[piece.stream] = self._in_line[piece.stream], not piece.data.endswith(b"\n")
        return (b"" if begun else stamp) + text.removesuffix(stamp if piece.data.endswith(b"\n") else b"")
