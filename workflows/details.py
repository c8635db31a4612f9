"""What Temporal's Web UI shows of a Run beside its history: Markdown, for somebody who never saw this project."""

from collections.abc import Iterator
from itertools import pairwise

from temporal_runs.status import RunStatus, State

MARKUP = "\\`*_[]<>|#$"
SHORT = 12
"""How much of a hash a person compares."""

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
    now = status.reason if status.reason and not status.state.is_final else EXPLAINED[status.state]
    yield f"## {status.state}\n{_text(now)}"
    if status.cause:
        yield f"**{status.cause.code}** ({status.cause.blame}): {_text(status.cause.message)}"
        yield f"**What to do:** {_text(status.cause.advice)}"
        if last := status.cause.evidence.get("last_lines"):
            yield f"```\n{str(last).replace('```', '` ` `')}\n```"
    if status.stop:
        late = " (too late: the command had ended)" if status.stop.too_late else ""
        yield f"**Stop:** {_text(status.stop.reason or 'on request')}{late}"


def _timeline(status: RunStatus) -> str:
    """A list: the UI sets the columns of a table without a space between them."""
    ends = [f", {(after.at - before.at).total_seconds():.1f} s" for before, after in pairwise(status.history)]
    return "\n".join(
        f"- **{change.state}** {change.at:%H:%M:%S} UTC{took}{': ' + _text(change.did) if change.did else ''}"
        for change, took in zip(status.history, [*ends, ""], strict=True)
    )


def _facts(status: RunStatus) -> str:
    spec, results = status.spec or {}, status.results
    command = spec.get("command")
    facts = {
        "Command": command and _code(" ".join(command) if isinstance(command, list) else str(command)),
        "Project": spec.get("project"),
        "Tier": spec.get("tier"),
        "Owner": spec.get("owner"),
        "Executor": status.executor,
        "Attempt": status.attempt if status.attempt > 1 else None,
        "Files": status.input_commit and _code(status.input_commit[:SHORT]),
        "Environment": status.environment,
        "Image": status.image and _code(_short(status.image)),
        "Build": status.build and _code(status.build),
        "Results in": status.output_commit and _code(status.output_commit[:SHORT]),
        "Conflicts": results and ", ".join(map(_text, results.conflicts)),
        "Metrics": ", ".join(f"{_text(name)} {_text(str(value))}" for name, value in (status.metrics or {}).items()),
    }
    return "\n".join(f"- {name}: {said}" for name, said in facts.items() if said not in (None, ""))


def _short(image: str) -> str:
    """Its digest, or id, as long as a person compares them."""
    name, algorithm, digest = image.rpartition("sha256:")
    return f"{name}{algorithm}{digest[:SHORT]}"


def _commands(status: RunStatus) -> Iterator[str]:
    yield f"Console: `temporal-runs logs {status.run_id}`"
    yield f"What it used: `temporal-runs usage {status.run_id}`"
    if status.state is State.QUEUED:
        yield f"How many are ahead of it: `temporal-runs status {status.run_id}`"
    if not status.state.is_final:
        yield f"Stop it: `temporal-runs stop {status.run_id}`, or send it the signal `stop`"
    elif status.output_commit and status.spec:
        project = status.spec.get("project")
        yield f"Its results: `temporal-runs files pull --project {project} --results {status.run_id}`"


def _text(text: str) -> str:
    """Somebody's words, on one line, and no markup."""
    return "".join(f"\\{one}" if one in MARKUP else one for one in " ".join(text.split()))


def _code(text: str) -> str:
    """The same, as a command is written: nothing in it is markup."""
    return f"`{' '.join(text.split()).replace('`', 'ˋ')}`"
