"""The fleet as its operators see it: tiers, executors, what waits for them, and how one is taken out."""

from collections.abc import Sequence
from typing import Annotated

import typer

from temporal_runs.cli import exits

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def tiers(as_json: Json = False) -> int:
    """List the hardware tiers and their limits."""
    from temporal_runs.cli import output
    from temporal_runs.settings import Settings

    known = list(Settings.load().tier_table.values())
    if as_json:
        output.print_json(known)
        return exits.DONE
    rows = [
        (
            tier.name,
            f"{tier.cores:g}",
            output.size(tier.memory),
            str(tier.gpus),
            output.size(tier.shm),
            str(tier.pids),
            output.size(tier.disk) if tier.disk else "-",
            _seconds(tier.time_limit(None)),
            _seconds(tier.max_time_limit),
            ", ".join(tier.mounts),
        )
        for tier in known
    ]
    headings = ("TIER", "CORES", "MEMORY", "GPUS", "SHM", "PIDS", "DISK", "TIME LIMIT", "AT MOST", "MOUNTS")
    output.on_stdout().print(output.table(headings, rows))
    return exits.DONE


def executors(as_json: Json = False) -> int:
    """List the executors: what each serves and holds, and when it was heard of."""
    from temporal_runs.cli import output, session
    from temporal_runs.fleet import Fleet
    from temporal_runs.settings import Settings

    found = Fleet(session.open_store(Settings.load())).executors()
    if as_json:
        output.print_json([{**one.model_dump(mode="json"), "silent": one.is_silent} for one in found])
        return exits.DONE
    rows = [
        (
            one.id,
            one.host,
            one.standing,
            one.seen_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            ", ".join(f"{name} {room.held}/{room.held + room.left}" for name, room in one.tiers.items()),
            f"{one.used.cores:g}/{one.whole.cores:g}",
            f"{output.size(one.used.memory)}/{output.size(one.whole.memory)}",
            f"{one.used.gpus}/{one.whole.gpus}",
            one.version,
            " ".join(run.run_id for run in one.runs),
        )
        for one in found
    ]
    headings = ("ID", "HOST", "STATE", "SEEN", "TIERS", "CORES", "MEMORY", "GPUS", "VERSION", "RUNS")
    output.on_stdout().print(output.table(headings, rows))
    return exits.DONE


def images(as_json: Json = False) -> int:
    """List the images that each executor's machine holds, and where they came from."""
    from temporal_runs.cli import output, session
    from temporal_runs.fleet import IMAGE_LIST, Fleet
    from temporal_runs.settings import Settings

    found = Fleet(session.open_store(Settings.load())).images()
    if as_json:
        output.print_json({id: IMAGE_LIST.dump_python(held, mode="json") for id, held in found.items()})
        return exits.DONE
    rows = [
        (
            id,
            _names(one.names) or one.id.removeprefix("sha256:")[:12],
            output.size(one.size),
            one.last_used.astimezone().strftime("%Y-%m-%d %H:%M:%S") if one.last_used else "",
            "yes" if one.in_use else "",
            "may be removed" if one.last_used else "the machine's own",
        )
        for id, held in sorted(found.items())
        for one in sorted(held, key=lambda one: one.names)
    ]
    output.on_stdout().print(output.table(("EXECUTOR", "IMAGE", "SIZE", "LAST USED", "IN USE", ""), rows))
    return exits.DONE


def backlog(as_json: Json = False) -> int:
    """Show what waits for each tier, and who is there for it: what a scaler goes by."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    async def work() -> int:
        runs = await session.open_runs(Settings.load())
        found = await runs.backlog()
        if as_json:
            output.print_json(found)
            return exits.DONE
        rows = [
            (one.tier, str(one.waiting), f"{one.oldest_seconds:.0f} s", str(one.executors), str(one.left))
            for one in found
        ]
        output.on_stdout().print(output.table(("TIER", "WAITING", "OLDEST", "EXECUTORS", "ROOM FOR"), rows))
        return exits.DONE

    return session.in_loop(work())


def drain(
    id: Annotated[str, typer.Argument(metavar="ID", help="The executor's id.", show_default=False)],
    as_json: Json = False,
) -> int:
    """Let an executor take nothing new, and end when its Runs have ended."""
    from temporal_runs.cli import output, session
    from temporal_runs.fleet import Fleet
    from temporal_runs.settings import Settings

    told = Fleet(session.open_store(Settings.load())).drain(id)
    if as_json:
        output.print_json({"executor": id, "runs": [run.run_id for run in told.runs]})
    else:
        left = f"it ends with its {output.plural(len(told.runs), 'Run')}" if told.runs else "it ends"
        output.on_stdout().print(f"{id}: takes nothing new within seconds, then {left}")
    return exits.DONE


def _seconds(limit: float | None) -> str:
    return "-" if limit is None else f"{limit:g} s"


def _names(names: Sequence[str]) -> str:
    """The first of an image's names, and how many it has besides."""
    return ", ".join(names[:1]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
