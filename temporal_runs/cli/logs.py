"""`temporal-runs logs`: what the command has printed, its own bytes; what there is to say about them goes to stderr."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from temporal_runs.cli import exits, moments

if TYPE_CHECKING:
    from temporal_runs.console import Gap, Printed, Stream


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
    selection = Selection(stream, moments.read("--since", since), tail)

    async def work() -> int:
        handle = (await session.open_runs(Settings.load())).get(id)
        gaps: list[Gap] = []
        text = _text(handle.console(follow, selection), gaps, timestamps=timestamps)
        if as_json:
            console = b"".join([piece async for piece in text])
            output.print_json(
                {
                    "run_id": id,
                    "console": console.decode(errors="replace"),
                    "bytes": len(console),
                    "not_kept": sum(gap.bytes or 0 for gap in gaps),
                    "losses": sum(gap.bytes is None for gap in gaps),
                }
            )
        else:
            stream = stdout_bytes()
            async for piece in text:
                stream.write(piece)
                stream.flush()
        return exits.DONE

    return session.in_loop(work())


async def _text(pieces: "AsyncIterator[Printed | Gap]", gaps: "list[Gap]", *, timestamps: bool) -> AsyncIterator[bytes]:
    """The bytes of the pieces. Where some are missing it says so on stderr, and notes it in `gaps`."""
    from temporal_runs.cli import output
    from temporal_runs.console import Gap

    stamps = _Stamps()
    async for piece in pieces:
        if isinstance(piece, Gap):
            gaps.append(piece)
            output.on_stderr().print(output.missing(piece.bytes))
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
