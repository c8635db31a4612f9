"""`temporal-runs usage`: what a command used of its machine, drawn on one screen, or as numbers for other programs."""

import asyncio
import csv
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from temporal_runs.client import RunHandle
    from temporal_runs.usage import Rates, Series

LOOKS_EVERY = 1.0
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
WIDEST, WORDS = 60, 80
"""columns of a drawing, and of what stands beside it"""


def usage(
    id: Annotated[str, typer.Argument(metavar="ID", help="The Run's id.", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the command has ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary and the readings as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the readings, a line for each.")] = False,
) -> int:
    """Draw what the command used: CPU, memory, disk, network, GPUs."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    if as_json and (as_csv or follow):
        raise exits.UsageProblem("--json prints one document: leave --csv and --follow out")

    async def work() -> int:
        handle = (await session.open_runs(Settings.load())).get(id)
        looks = _looks(handle, follow=follow)
        page = output.on_stdout()
        if as_json:
            output.print_json({"run_id": id, **_document(await anext(looks))})
        elif as_csv:
            await _write_csv(looks)
        elif follow and page.is_terminal:
            await _draw_live(looks, page)
        elif follow:
            await _write_lines(looks, page)
        elif series := await anext(looks):
            page.print(drawing(series, page))
        else:
            output.on_stderr().print(f"nothing has been measured of {id}: its command is looked at once a second")
        return exits.DONE

    return session.in_loop(work())


async def _looks(handle: "RunHandle", *, follow: bool) -> "AsyncIterator[Series | None]":
    """The series as it is now; with `follow` again and again, until the command has ended."""
    from temporal_runs.status import State

    goes_on = True
    while goes_on:
        # Asked before the look, so that the last reading is still seen.
        state = (await handle.status()).state if follow else State.SUCCEEDED
        goes_on = not (state.is_final or state in (State.FINISHING, State.STOPPING))
        yield await handle.usage()
        if goes_on:
            await asyncio.sleep(LOOKS_EVERY)


def _document(series: "Series | None") -> dict[str, object]:
    if series is None:
        return {"usage": None, "cores": None, "readings": []}
    fields = series.readings[0].__struct_fields__
    return {
        "usage": series.usage.model_dump(),
        "cores": series.cores,
        "readings": [{name: getattr(reading, name) for name in fields} for reading in series.readings],
    }


async def _write_csv(looks: "AsyncIterator[Series | None]") -> None:
    from temporal_runs.usage import Reading

    lines = csv.writer(sys.stdout)
    lines.writerow(Reading.__struct_fields__)
    shown = 0.0
    async for series in looks:
        for reading in series.readings if series else ():
            if reading.at > shown:
                shown = reading.at
                moment = datetime.fromtimestamp(reading.at, UTC).isoformat(timespec="milliseconds")
                lines.writerow([moment, *(getattr(reading, name) for name in Reading.__struct_fields__[1:])])
        sys.stdout.flush()


async def _draw_live(looks: "AsyncIterator[Series | None]", page: "Console") -> None:
    from rich.live import Live

    with Live(console=page, auto_refresh=False) as live:
        async for series in looks:
            live.update(drawing(series, page) if series else "nothing has been measured yet", refresh=True)


async def _write_lines(looks: "AsyncIterator[Series | None]", page: "Console") -> None:
    from temporal_runs.cli import output

    shown: Rates | None = None
    async for series in looks:
        rates = series.rates if series else []
        if series and rates and rates[-1] != shown:
            shown = rates[-1]
            page.print(
                f"{output.clock(shown.at)}  CPU {_cores(shown.cores, series)}  memory {output.size(shown.memory)}  "
                f"disk {_flow(shown.read, shown.written)}  network {_flow(shown.received, shown.sent)}"
            )


def drawing(series: "Series", page: "Console") -> "Table":
    """A line for each resource: its course, the newest value, and the whole."""
    from rich.table import Table
    from rich.text import Text

    from temporal_runs.cli import output

    rates, total = series.rates, series.usage
    bars = ASCII_BARS if page.options.ascii_only else BARS
    width = max(8, min(WIDEST, page.width - WORDS))
    grid = Table.grid(padding=(0, 2))

    def row(name: str, course: "Sequence[float | None]", now: str, whole: str, top: float | None = None) -> None:
        if any(value is not None for value in course) or not rates:
            line = sparkline([value or 0 for value in course], width, bars, top)
            grid.add_row(Text(name, style="dim"), Text(line, style="cyan"), Text(now), Text(whole, style="dim"))

    def each_second(value: float | None) -> str:
        return f"{output.size(round(value or 0))}/s"

    last = rates[-1] if rates else None
    row(
        "CPU",
        [rate.cores for rate in rates],
        _cores(last.cores, series) if last else "",
        f"{total.cpu_seconds or 0:.1f} s in all",
        series.cores,
    )
    row(
        "Memory",
        [rate.memory for rate in rates],
        output.size(series.readings[-1].memory_bytes),
        f"{output.memory(total)} (mean {output.size(total.mean_memory_bytes or 0)})",
        series.memory_limit_bytes,
    )
    for name, course, whole in (
        ("Disk read", [rate.read for rate in rates], total.read_bytes),
        ("Disk written", [rate.written for rate in rates], total.written_bytes),
        ("Network in", [rate.received for rate in rates], total.received_bytes),
        ("Network out", [rate.sent for rate in rates], total.sent_bytes),
    ):
        if whole is not None:
            row(name, course, each_second(course[-1]) if course else "", f"{output.size(whole)} in all")
    if total.mean_gpu_percent is not None:
        now = series.readings[-1]
        row(
            "GPU",
            [rate.gpu for rate in rates],
            f"{now.gpu_percent or 0:.0f} %",
            f"mean {total.mean_gpu_percent:.0f} %",
            100,
        )
        whole = f"{output.size(total.peak_gpu_memory_bytes or 0)} at most"
        row("GPU memory", [rate.gpu_memory for rate in rates], output.size(now.gpu_memory_bytes or 0), whole)
    return grid


def sparkline(values: "Sequence[float]", width: int, bars: str = BARS, top: float | None = None) -> str:
    """The course of values, no wider than that: the greatest of those that share a column. `top` fills a column."""
    columns = min(width, len(values))
    tallest = max([top or 0, *values], default=0) or 1
    groups = [values[i * len(values) // columns : (i + 1) * len(values) // columns] for i in range(columns)]
    return "".join(bars[min(len(bars) - 1, int(max(group) / tallest * len(bars)))] for group in groups)


def _cores(cores: float, series: "Series") -> str:
    return f"{cores:.2f} of {series.cores:g} cores"


def _flow(inward: float | None, outward: float | None) -> str:
    from temporal_runs.cli import output

    return f"{output.size(round(inward or 0))}/s in, {output.size(round(outward or 0))}/s out"
