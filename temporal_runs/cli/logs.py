"""`temporal-runs logs`: what the command has printed, its own bytes; what there is to say about them goes to stderr.

So do the lines that its image's build and pull printed, each marked by its phase.
"""

import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from temporal_runs.cli import exits, moments

if TYPE_CHECKING:
    from temporal_runs.client import RunHandle
    from temporal_runs.console import Gap, Printed, Stream
    from temporal_runs.phases import Phase


class Shown(StrEnum):
    """The phases that print."""

    BUILD = "build"
    PULL = "pull"
    RUN = "run"


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
    phase: Annotated[
        Shown | None, typer.Option(help="Only this phase's, on stdout: the build's or pull's lines, or the command's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document that holds the text.")] = False,
) -> int:
    """Print what the command has printed, its own bytes; on stderr what its image's build and pull printed."""
    from temporal_runs.cli import output, session
    from temporal_runs.cli.follow import stdout_bytes
    from temporal_runs.console import EVERYTHING, Selection
    from temporal_runs.settings import Settings

    stream: Stream | None = None
    if stdout != stderr:
        stream = "stdout" if stdout else "stderr"
    selection = Selection(stream, moments.read("--since", since), tail)

    of_image = phase.value if phase and phase is not Shown.RUN else None
    if of_image and selection != EVERYTHING:
        raise exits.UsageProblem(
            f"--phase {phase}: --stdout, --stderr, --since and --tail are for what the command printed; leave them out"
        )

    async def work() -> int:
        handle = (await session.open_runs(Settings.load())).get(id)
        if of_image:
            pieces = (piece async for _, piece in handle.phase_console(of_image, follow))
        else:
            pieces = handle.console(follow, selection)
        gaps: list[Gap] = []
        text = _text(pieces, gaps, timestamps=timestamps)
        marked = _of_phases(handle, follow=follow, timestamps=timestamps)
        with_phases = phase is None and selection == EVERYTHING
        if as_json:
            console = b"".join([piece async for piece in text])
            told = {of_image or "console": console.decode(errors="replace")}
            if with_phases:
                async for of, piece in marked:
                    told[of] = told.get(of, "") + piece.decode(errors="replace")
            missing = {
                "not_kept": sum(gap.bytes or 0 for gap in gaps),
                "losses": sum(gap.bytes is None for gap in gaps),
            }
            output.print_json({"run_id": id, **told, "bytes": len(console), **missing})
            return exits.DONE
        if with_phases:
            async for of, piece in marked:
                for line in piece.splitlines(keepends=True):
                    sys.stderr.buffer.write(f"{of:5} | ".encode() + line)
                sys.stderr.buffer.flush()
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


async def _of_phases(handle: "RunHandle", *, follow: bool, timestamps: bool) -> "AsyncIterator[tuple[Phase, bytes]]":
    """The same of build and pull; trouble with them keeps nobody from what the command printed."""
    from temporal_runs.asking import UnknownRun
    from temporal_runs.cli import output
    from temporal_runs.client import RunsError
    from temporal_runs.console import Gap
    from temporal_runs.store import StoreError

    stamps = _Stamps()
    try:
        async for phase, piece in handle.phase_console(follow=follow):
            if isinstance(piece, Gap):
                output.on_stderr().print(output.missing(piece.bytes))
            else:
                yield phase, stamps.put(piece) if timestamps else piece.data
    except UnknownRun:
        return  # what its command printed may be there all the same; where it is not, that says so
    except (RunsError, StoreError) as trouble:
        output.on_stderr().print(f"What its image's build and pull printed cannot be read: {trouble}")


class _Stamps:
    """Begins lines with their time; each stream has its own lines."""

    def __init__(self) -> None:
        self._in_line = {"stdout": False, "stderr": False}

    def put(self, piece: "Printed") -> bytes:
        stamp = piece.at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode() + b" "
        text = piece.data.replace(b"\n", b"\n" + stamp)
        begun, self._in_line[piece.stream] = self._in_line[piece.stream], not piece.data.endswith(b"\n")
        return (b"" if begun else stamp) + text.removesuffix(stamp if piece.data.endswith(b"\n") else b"")
