"""The processes: `up` for all in one, `dispatcher` and `executor` each alone, `setup` for the server they use."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal_runs.cli import exits, fleet

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from temporalio.client import Client

    from temporal_runs.settings import Settings
    from temporal_runs.worker.room import Offer

ENDS_WITHIN = 30.0
"""Seconds: beyond them nothing is under way but asking a server that is away."""

executor_app = typer.Typer(rich_markup_mode=None)
executor_app.command("drain")(fleet.drain)


def up() -> int:
    """Start all that Runs need: Temporal (unless TEMPORAL_ADDRESS names one), a dispatcher, an executor."""
    from temporal_runs.cli import session
    from temporal_runs.connection import configured

    settings = _settings()
    _require_docker()
    session.open_store(settings)

    async def work() -> int:
        from temporal_runs.worker.embedded import EmbeddedServer

        if configured().address:
            await _serve_all(settings, None)
            return exits.DONE
        async with EmbeddedServer(settings) as server:
            await _serve_all(settings, server)
        return exits.DONE

    return session.in_loop(_until_told(work()))


def setup(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Register the search attributes of Runs at the Temporal server. Safe to repeat."""
    from temporal_runs import search_attributes
    from temporal_runs.cli import output, session
    from temporal_runs.connection import connect
    from temporal_runs.settings import Settings

    async def work() -> int:
        client = await connect(Settings.load())
        added = await search_attributes.register(client)
        if as_json:
            output.print_json({"namespace": client.namespace, "registered": added})
            return exits.DONE
        said = f"registered {', '.join(added)}" if added else "nothing to do, all search attributes are there"
        output.on_stdout().print(f"{client.namespace}: {said}")
        return exits.DONE

    return session.in_loop(work())


def dispatcher() -> int:
    """Take Runs in: workflows and queueing. Any number of them may run."""
    from temporal_runs.cli import session

    settings = _settings()
    session.open_store(settings)

    async def work() -> int:
        from temporal_runs.worker.dispatcher import run_dispatcher

        await run_dispatcher(await _client(settings), settings)
        return exits.DONE

    return session.in_loop(_until_told(work()))


@executor_app.callback(invoke_without_command=True)
def executor(
    context: typer.Context,
    id: Annotated[str | None, typer.Option(help="Its name, unique. [default: the host's name]")] = None,
    serve: Annotated[
        list[str] | None,
        typer.Option(metavar="TIER=N", help="How many Runs of a tier at once; may be repeated. [default: what fits]"),
    ] = None,
    cores: Annotated[float | None, typer.Option(help="Cores that all tiers share. [default: all]")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory that all tiers share: 64GiB. [default: all]")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="How many GPUs this machine has for Runs.")] = 0,
) -> int:
    """Execute Runs on this machine. SIGTERM lets it end with its Runs, a second one, or ctrl-C, without them."""
    if context.invoked_subcommand:
        return exits.DONE
    import asyncio

    from temporal_runs.cli import session

    settings = _settings()
    offer = _offer(settings, serve, cores, memory, gpus)
    name = _executor_id(id)
    _require_docker()
    session.open_store(settings)

    async def work() -> int:
        from temporal_runs.worker.executor import run_executor

        await run_executor(await _client(settings), settings, name, offer, drain)
        return exits.DONE

    drain = asyncio.Event()
    return session.in_loop(_until_told(work(), drain))


def _settings() -> "Settings":
    """Those of a worker, whose log and metrics begin with them."""
    from temporal_runs.settings import Settings
    from temporal_runs.worker import telemetry

    settings = Settings.load()
    telemetry.begin(settings)
    return settings


async def _serve_all(settings: "Settings", server: "Any") -> None:
    """Dispatcher and executor, until cancelled; raises what ends one of them."""
    import asyncio

    from temporal_runs.cli import output
    from temporal_runs.worker.dispatcher import run_dispatcher
    from temporal_runs.worker.executor import run_executor
    from temporal_runs.worker.room import Offer

    # Two clients: what a client's plugins bring reaches every worker of that client.
    dispatching, executing = await _client(settings), await _client(settings)
    workers = [
        asyncio.create_task(run_dispatcher(dispatching, settings)),
        asyncio.create_task(run_executor(executing, settings, _executor_id(None), Offer())),
    ]
    watched = [*workers, asyncio.create_task(server.lost())] if server else workers
    page = output.on_stdout()
    page.print(f"Web UI: {server.ui}" if server else "Runs are taken in; Temporal is the server you configured.")
    page.print("Start a Run from a project's folder: temporal-runs run -- COMMAND")
    page.print("ctrl-C ends this; Runs whose command executes go on, and are taken up by the next `up`.")
    try:
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in watched:
            task.cancel()
        await asyncio.gather(*watched, return_exceptions=True)


async def _client(settings: "Settings") -> "Client":
    """A client for workers; raises SearchAttributeProblem where the server is not set up."""
    from temporal_runs import search_attributes
    from temporal_runs.connection import connect

    client = await connect(settings)
    await search_attributes.require(client)
    return client


async def _until_told(work: "Coroutine[Any, Any, int]", drain: "asyncio.Event | None" = None) -> int:
    """Does the work until SIGINT or SIGTERM asks for its end, and waits `ENDS_WITHIN` for that end.

    Work that can `drain` is let end by itself at the first SIGTERM.
    """
    import asyncio
    import os
    import signal

    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def terminate() -> None:
        if drain is None or drain.is_set():
            told.set()
        else:
            drain.set()

    loop.add_signal_handler(signal.SIGINT, told.set)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    working = asyncio.create_task(work)
    telling = asyncio.create_task(told.wait())
    await asyncio.wait({working, telling}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait({working}, timeout=ENDS_WITHIN)
    if not working.done():
        # Temporal's worker asks on for as long as its server is away. To die at any moment does no harm.
        os._exit(exits.DONE)
    try:
        return await working
    except asyncio.CancelledError:
        return exits.DONE


def _offer(
    settings: "Settings", serve: list[str] | None, cores: float | None, memory: str | None, gpus: int
) -> "Offer":
    from temporal_runs.settings import memory_bytes
    from temporal_runs.worker.room import Offer

    if serve and (cores is not None or memory is not None):
        raise exits.UsageProblem("--serve and --cores, --memory exclude each other: tiers have slots, or share a room")
    if cores is not None and cores <= 0:
        raise exits.UsageProblem(f"--cores {cores:g}: write a number above 0")
    try:
        size = None if memory is None else memory_bytes(memory)
    except ValueError as error:
        raise exits.UsageProblem(f"--memory: {error}") from None
    return Offer(serve=_places(settings, serve), cores=cores, memory=size, gpus=gpus)


def _places(settings: "Settings", serve: list[str] | None) -> dict[str, int] | None:
    places: dict[str, int] = {}
    for pair in serve or []:
        tier, _, number = pair.partition("=")
        if not number.isdecimal() or int(number) < 1:
            raise exits.UsageProblem(f"--serve {pair}: write TIER=NUMBER, for example small=4")
        if tier not in settings.tier_table:
            raise exits.UsageProblem(f"--serve {pair}: unknown tier; there are {', '.join(settings.tier_table)}")
        places[tier] = int(number)
    return places or None


def _executor_id(given: str | None) -> str:
    import re
    import socket

    from temporal_runs.spec import ID_PATTERN

    name = given or socket.gethostname()
    if not re.fullmatch(ID_PATTERN, name):
        raise exits.UsageProblem(
            f"{name!r} cannot be an executor's id: use letters, digits, '.', '_' and '-', at most 63 (--id)"
        )
    return name


def _require_docker() -> None:
    """Raises UsageProblem where no Docker engine answers."""
    from temporal_runs.engine import Engine, EngineUnavailable

    try:
        Engine.connect().ping()
    except EngineUnavailable as error:
        raise exits.UsageProblem(f"{error} Start it, or set DOCKER_HOST.") from None
