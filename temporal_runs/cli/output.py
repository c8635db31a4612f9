"""What people read: times, states, results, causes, tables; and JSON for what other programs read.

Data goes to stdout, talk about it to stderr.
"""

import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from temporal_runs.words import changes, memory, plural, size

if TYPE_CHECKING:
    from pydantic import BaseModel

    from temporal_runs.status import Queue, Results, RunFacts, RunStatus

COLOURS = {
    "Succeeded": "green",
    "Failed": "red",
    "Error": "bold red",
    "Stopped": "yellow",
    "StopRequested": "yellow",
    "Stopping": "yellow",
    "Running": "cyan",
}


WHOSE = {
    "user": "the Run's own: its command, its environment or its spec",
    "platform": "the platform's, not the command's",
}

LAST_LINES = 10
"""Of what was printed before a Run ended badly, in what is said of its end."""

Progress = Callable[[int, int], None]
"""What the store calls while it works: files and bytes done so far."""


WIDE = 1000
"""Columns of what is no terminal: nothing is cut there."""


def on_stdout() -> Console:
    """For data."""
    return _console(sys.stdout)


def on_stderr() -> Console:
    """For talk."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else WIDE
    # What is printed is people's own text, paths above all: nothing in it is markup.
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_json(value: "BaseModel | Sequence[Any] | dict[str, Any]") -> None:
    """One JSON document."""
    _write(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def print_json_line(value: "BaseModel") -> None:
    """One JSON document of a stream of them, on one line."""
    _write(json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def missing(count: int | None) -> str:
    """Stands where bytes of a console are missing; None: nobody knows how many."""
    if count is None:
        return "[... an unknown number of bytes lost ...]"
    return f"[... {size(count)} not kept, for the console's cap ...]"


def clock(moment: datetime) -> str:
    """A time of this machine's day."""
    return moment.astimezone().strftime("%H:%M:%S")


def state_line(facts: "RunFacts") -> Text:
    """One state of a Run as it happens: when, how long after its start, what it does."""
    change = facts.history[-1]
    since = (change.at - facts.history[0].at).total_seconds()
    line = Text(f"{clock(change.at)} {since:+8.1f}s  ", style="dim")
    line.append(f"{change.state:<14}", style=COLOURS.get(change.state, "bold"))
    if facts.reason:
        line.append(facts.reason, style="dim")
    line.rstrip()
    return line


def ending(facts: "RunFacts", *, console_shown: bool = True) -> Iterator[Text]:
    """What a Run that is over leaves to be said: cause, whose it is, last lines where not seen yet, advice, results."""
    if facts.cause:
        yield Text(f"{facts.state}: {facts.cause.message} ({facts.cause.code})", style=COLOURS[facts.state])
        yield Text(f"Whose it is: {WHOSE[facts.cause.blame]}")
        # What a build printed is in no console.
        if not console_shown or facts.cause.stage != "Running":
            last = str(facts.cause.evidence.get("last_lines") or "").splitlines()[-LAST_LINES:]
            yield from (Text(f"  | {line}", style="dim") for line in last)
        yield Text(f"What to do: {facts.cause.advice}")
    elif facts.stop and not facts.stop.too_late:
        yield Text(f"Stopped: {facts.stop.reason or 'on request'}", style=COLOURS["Stopped"])
    if facts.stop and facts.stop.too_late:
        yield Text("The stop came too late: the command had already ended by itself.")
    if facts.results:
        yield from _results(facts.results, facts.output_commit)


def _results(results: "Results", commit: str | None) -> Iterator[Text]:
    where = f" in commit {commit[:12]}" if commit else ""
    yield Text(f"Results: {changes(results)}{where}")
    for path in results.conflicts:
        yield Text(f"  kept beside another version: {path}", style="yellow")
    for path in results.skipped:
        yield Text(f"  not brought back: {path}", style="yellow")


def now(status: "RunStatus") -> str:
    """What a Run does at this moment, or what it waits for, on one line."""
    said = status.reason or status.state
    if status.queue:
        return waiting(status.queue, said, str((status.spec or {}).get("tier")))
    done = status.progress or {}
    if "files" in done:
        return f"{said}: {plural(done['files'], 'file')}, {size(done['bytes'])}"
    if done.get("instruction"):
        return f"{said}: {done['instruction']}: {done['text']}"
    last = str(done.get("text") or done.get("last_lines") or "").splitlines()
    return f"{said}: {last[-1]}" if last else said


def waiting(queue: "Queue", said: str, tier: str) -> str:
    """What a Run in the queue waits for."""
    place = f"place {queue.position}"
    if queue.executors is None:
        return f"{said}: {place}"
    if not queue.executors:
        idle = ", ".join(f"{id} is {standing}" for id, standing in queue.idle.items())
        return f"no executor serves tier {tier}{f' ({idle})' if idle else ''}: {place}"
    serving = f"{plural(queue.executors, 'executor')} {'serves' if queue.executors == 1 else 'serve'} it"
    return f"{said}: {place}; {serving}, {queue.held} of {queue.held + queue.left} places taken"


def facts_table(facts: "RunStatus") -> Table:
    """All that is known of a Run."""
    table = Table.grid(padding=(0, 2))
    spec = facts.spec or {}
    rows: dict[str, Any] = {
        "Run": facts.run_id,
        "State": Text(facts.state, style=COLOURS.get(facts.state, "bold")),
        "Now": None if facts.state.is_final else now(facts),
        "Project": spec.get("project"),
        "Tier": spec.get("tier"),
        "Attempt": facts.attempt if facts.attempt > 1 else None,
        "Executor": facts.executor,
        "Input": facts.input_commit,
        "Output": facts.output_commit,
        "Environment": facts.environment,
        "Image": facts.image,
        "Exit status": facts.exit_code,
        "CPU": f"{facts.usage.cpu_seconds:.1f} s" if facts.usage and facts.usage.cpu_seconds else None,
        "Memory": memory(facts.usage) if facts.usage and facts.usage.peak_memory_bytes else None,
        "Metrics": "  ".join(f"{name} {value}" for name, value in (facts.metrics or {}).items()) or facts.metrics_note,
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(name, style="dim"), value if isinstance(value, Text) else Text(str(value)))
    return table


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A plain table."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    lines = list(rows)
    # The first column is what one copies into the next command: never cut.
    widest = max((len(row[0]) for row in lines), default=0)
    for number, heading in enumerate(headings):
        made.add_column(heading, no_wrap=True, min_width=widest if number == 0 else None)
    for row in lines:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


@contextmanager
def progress(verb: str) -> Generator[Progress]:
    """Shows how many files and bytes are through, on a terminal; is silent elsewhere."""
    console = on_stderr()
    if not console.is_terminal:
        yield lambda files, bytes: None
        return
    with console.status(verb) as shown:

        def show(files: int, bytes: int, /) -> None:
            shown.update(f"{verb}: {plural(files, 'file')}, {size(bytes)}")

        yield show
