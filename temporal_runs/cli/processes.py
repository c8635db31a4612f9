"""The processes: `up` for all in one, `dispatcher` and `executor` each alone, `setup` for the server they use."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from temporalio.client import Client

    from temporal_runs.settings import Settings


def up() -> int:
    """Start all that Runs need: Temporal (unless TEMPORAL_ADDRESS names one), a dispatcher, an executor."""
    from temporal_runs.cli import session
    from temporal_runs.connection import configured
    from temporal_runs.settings import Settings

    settings = Settings.load()
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
    from temporal_runs.settings import Settings

    settings = Settings.load()
    session.open_store(settings)

    async def work() -> int:
        from temporal_runs.worker.dispatcher import run_dispatcher

        await run_dispatcher(await _client(settings), settings)
        return exits.DONE

    return session.in_loop(_until_told(work()))


def executor(
    id: Annotated[str | None, typer.Option(help="Its name, unique. [default: the host's name]")] = None,
    serve: Annotated[
        list[str] | None,
        typer.Option(metavar="TIER=N", help="How many Runs of a tier at once; may be repeated. [default: what fits]"),
    ] = None,
) -> int:
    """Execute Runs on this machine."""
    from temporal_runs.cli import session
    from temporal_runs.settings import Settings

    settings = Settings.load()
    places = _places(settings, serve)
    name = _executor_id(id)
    _require_docker()
    session.open_store(settings)

    async def work() -> int:
        from temporal_runs.worker.executor import run_executor

        await run_executor(await _client(settings), settings, name, places)
        return exits.DONE

    return session.in_loop(_until_told(work()))


async def _serve_all(settings: "Settings", server: "Any") -> None:
    """Dispatcher and executor, until cancelled; raises what ends one of them."""
    import asyncio

    from temporal_runs.cli import output
    from temporal_runs.worker.dispatcher import run_dispatcher
    from temporal_runs.worker.executor import run_executor

    # Two clients: what a client's plugins bring reaches every worker of that client.
    dispatching, executing = await _client(settings), await _client(settings)
    workers = [
        asyncio.create_task(run_dispatcher(dispatching, settings)),
        asyncio.create_task(run_executor(executing, settings, _executor_id(None), None)),
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


async def _until_told(work: "Coroutine[Any, Any, int]") -> int:
    """Does the work until SIGINT or SIGTERM asks for its end, and waits for that end."""
    import asyncio
    import signal

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, told.set)
    working = asyncio.create_task(work)
    telling = asyncio.create_task(told.wait())
    await asyncio.wait({working, telling}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    if working.done():
        return working.result()
    working.cancel()
    try:
        return await working
    except asyncio.CancelledError:
        return exits.DONE


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
