"""Runs that were: found again, told from beginning to end, compared, and started once more."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from temporal_runs.cli import exits, moments

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The Run's id.", show_default=False)]


def list_runs(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    project: Annotated[str | None, typer.Option(help="Only those of this project.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only those of this hardware tier.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only this owner's.")] = None,
    cause: Annotated[str | None, typer.Option(metavar="CODE", help="Only those that ended with this cause.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only those with this tag; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Begun then or later: 2h, 7d, 2026-11-25.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Begun before then.")] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="With the metrics of those that have ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    page: Annotated[str | None, typer.Option(help="Go on where another page ended.")] = None,
    as_json: Json = False,
) -> int:
    """List Runs: those that are open first, then those that ended last."""
    from rich.text import Text

    from temporal_runs.cli import output, session
    from temporal_runs.listing import Wanted
    from temporal_runs.settings import Settings
    from temporal_runs.status import State

    names = {name.lower(): name.value for name in State}
    if state is not None and state.lower() not in names:
        raise exits.UsageProblem(f"unknown state {state!r}: there are {', '.join(State)}")
    wanted = Wanted(
        state=names[state.lower()] if state else None,
        project=project and session.project_name(project, Path()),
        tier=tier,
        owner=owner,
        cause=cause,
        tags=tuple(tag or ()),
        since=moments.read("--since", since),
        until=moments.read("--until", until),
    )

    async def work() -> int:
        runs = await session.open_runs(Settings.load())
        found = await runs.page(wanted, limit, page)
        if found.next:
            output.on_stderr().print(f"More: --page {found.next}")
        told = await runs.metrics(found.runs) if metrics else {}
        if as_json:
            told_too = [{**run.model_dump(mode="json"), "metrics": told.get(run.run_id)} for run in found.runs]
            output.print_json(told_too if metrics else found.runs)
            return exits.DONE
        names_told = list(dict.fromkeys(name for one in told.values() for name in one))
        rows = [
            (
                run.run_id,
                Text(run.state, style=output.COLOURS.get(run.state, "bold")),
                run.project or "",
                run.tier or "",
                run.owner or "",
                run.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                f"{(run.ended_at - run.started_at).total_seconds():.1f} s" if run.ended_at else "",
                run.cause or "",
                ", ".join(run.tags),
                *(str(told.get(run.run_id, {}).get(name, "")) for name in names_told),
            )
            for run in found.runs
        ]
        headings = ("ID", "STATE", "PROJECT", "TIER", "OWNER", "STARTED", "TOOK", "CAUSE", "TAGS", *names_told)
        output.on_stdout().print(output.table(headings, rows))
        return exits.DONE

    return session.in_loop(work())


def history(id: RunId, as_json: Json = False) -> int:
    """Print a Run's states, with the time it spent in each."""
    from itertools import pairwise

    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    async def work() -> int:
        facts = await (await session.open_runs(Settings.load())).get(id).status()
        if as_json:
            output.print_json(facts.history)
            return exits.DONE
        over = [f"{(after.at - before.at).total_seconds():.1f} s" for before, after in pairwise(facts.history)]
        rows = [
            (change.state, change.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"), took, change.did or "")
            for change, took in zip(facts.history, [*over, ""], strict=True)
        ]
        output.on_stdout().print(output.table(("STATE", "SINCE", "TOOK", "DID"), rows))
        return exits.DONE

    return session.in_loop(work())


def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="A Run's id.", show_default=False)],
    other: Annotated[str, typer.Argument(metavar="B", help="Another one's.", show_default=False)],
    as_json: Json = False,
) -> int:
    """Show what differs between two Runs: what was asked for, what they ran on, how they went."""
    from temporal_runs.cli import output, session
    from temporal_runs.comparing import differences
    from temporal_runs.settings import Settings

    async def work() -> int:
        runs = await session.open_runs(Settings.load())
        a, b = await runs.get(one).status(), await runs.get(other).status()
        found = differences(a, b)
        if as_json:
            output.print_json({name: {"a": of_one, "b": of_other} for name, of_one, of_other in found})
            return exits.DONE
        rows = [(name, _said(of_one), _said(of_other)) for name, of_one, of_other in found]
        output.on_stdout().print(output.table(("", one, other), rows))
        project = (a.spec or {}).get("project")
        of_one_project = project == (b.spec or {}).get("project")
        if of_one_project and a.input_commit and b.input_commit and a.input_commit != b.input_commit:
            versions = f"--from {a.input_commit} --to {b.input_commit}"
            output.on_stderr().print(f"Their files: temporal-runs files diff --project {project} {versions}")
        return exits.DONE

    return session.in_loop(work())


def rerun(
    id: RunId,
    same_inputs: Annotated[
        bool, typer.Option("--same-inputs", help="On the same files and image, not the newest.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Start a Run like this one, and print its id."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    async def work() -> int:
        runs = await session.open_runs(Settings.load())
        handle = await runs.rerun(id, same_inputs=same_inputs)
        if as_json:
            output.print_json({"run_id": handle.id})
        else:
            sys.stdout.write(f"{handle.id}\n")
            output.on_stderr().print(f"Follow it: temporal-runs watch {handle.id}")
        return exits.DONE

    return session.in_loop(work())


def _said(value: Any) -> str:
    return "-" if value is None else " ".join(str(value).split())
