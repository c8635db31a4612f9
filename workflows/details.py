"""What Temporal's Web UI shows of a Run beside its history: Markdown, for somebody who never saw this project."""

from collections.abc import Iterator
from itertools import pairwise

from temporal_runs.status import RunStatus, State, Usage

EXPLAINED = {
    State.QUEUED: "waits for a machine",
    State.SCHEDULED: "has its place on one",
    State.PREPARING: "files are brought there",
    State.BUILDING: "its image is built",
    State.PULLING: "its image is fetched",
    State.RUNNING: "the command executes",
    State.FINISHING: "changed files are copied back",
    State.STOP_REQUESTED: "somebody asked for its end",
    State.STOPPING: "changed files are copied back",
    State.SUCCEEDED: "ended without error",
    State.FAILED: "ended because of the user's code",
    State.ERROR: "ended because of something else than the user's code",
    State.STOPPED: "ended because somebody stopped it",
}


def details(status: RunStatus) -> str:
    """The page. Commands in it are meant for a terminal."""
    return "\n\n".join([*_head(status), _timeline(status), _facts(status), *_commands(status)])


def _head(status: RunStatus) -> Iterator[str]:
    now = f": {status.reason}" if status.reason and not status.state.is_final else ""
    yield f"## {status.state}\n{EXPLAINED[status.state]}{now}"
    if status.cause:
        yield f"**{status.cause.code}** ({status.cause.blame}): {_text(status.cause.message)}"
        yield f"**What to do:** {_text(status.cause.advice)}"
        if last := status.cause.evidence.get("last_lines"):
            yield f"```\n{str(last).replace('```', '` ` `')}\n```"
    if status.stop:
        late = " (too late: the command had ended)" if status.stop.too_late else ""
        yield f"**Stop:** {_text(status.stop.reason or 'on request')}{late}"


def _timeline(status: RunStatus) -> str:
    rows = [
        f"| {change.state} | {change.at:%H:%M:%S} | {(following.at - change.at).total_seconds():.1f} s |"
        for change, following in pairwise(status.history)
    ]
    last = status.history[-1]
    return "\n".join(
        ["| state | since (UTC) | took |", "| --- | --- | --- |", *rows, f"| {last.state} | {last.at:%H:%M:%S} | |"]
    )


def _facts(status: RunStatus) -> str:
    spec, results, usage = status.spec or {}, status.results, status.usage
    command = spec.get("command")
    rows = {
        "command": " ".join(command) if isinstance(command, list) else command,
        "project": spec.get("project"),
        "tier": spec.get("tier"),
        "owner": spec.get("owner"),
        "executor": status.executor,
        "attempt": status.attempt if status.attempt > 1 else None,
        "files": status.input_commit,
        "environment": status.environment,
        "image": status.image,
        "build": status.build,
        "exit status": status.exit_code,
        "results": results and f"{results.added} added, {results.changed} changed, {results.deleted} deleted",
        "results in": status.output_commit,
        "conflicts": results and ", ".join(results.conflicts),
        "CPU": usage and usage.cpu_seconds and f"{usage.cpu_seconds:.1f} s",
        "memory at most": usage and usage.peak_memory_bytes and _memory(usage),
        "metrics": ", ".join(f"{name} {value}" for name, value in (status.metrics or {}).items()),
    }
    told = [f"| {name} | {_text(str(value))} |" for name, value in rows.items() if value not in (None, "")]
    return "\n".join(["| | |", "| --- | --- |", *told])


def _memory(usage: Usage) -> str:
    share = f", {usage.memory_share:.0%} of what it may use" if usage.memory_share is not None else ""
    return f"{(usage.peak_memory_bytes or 0) / 2**20:.0f} MiB{share}"


def _commands(status: RunStatus) -> Iterator[str]:
    yield f"Console: `temporal-runs logs {status.run_id}`"
    if status.state is State.QUEUED:
        yield f"How many are ahead of it: `temporal-runs status {status.run_id}`"
    if not status.state.is_final:
        yield f"Stop it: `temporal-runs stop {status.run_id}`, or send it the signal `stop`"
    elif status.output_commit and status.spec:
        project = status.spec.get("project")
        yield f"Its results: `temporal-runs files pull --project {project} --results {status.run_id}`"


def _text(text: str) -> str:
    """Somebody's words, on one line of a table, and no markup."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>|" else one for one in " ".join(text.split()))
