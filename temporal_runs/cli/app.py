"""The commands, in the order of the help. Nothing heavy is imported before a command needs it."""

from typing import Any

import typer

from temporal_runs.cli import environment, files, fleet, logs, past, processes, run, runs, usage

app = typer.Typer(
    name="temporal-runs",
    help="Durable Runs of your code on Temporal.\n\n"
    "Exit codes: 0 Succeeded or done, 1 Failed, 2 usage or environment, 3 Error, 4 Stopped.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command(
    "run",
    # What follows the first word of the command is the command's, options too.
    context_settings={"allow_interspersed_args": False},
)(run.run)
for name, function in {
    "start": runs.start,
    "status": runs.status,
    "watch": runs.watch,
    "logs": logs.logs,
    "usage": usage.usage,
    "stop": runs.stop,
    "list": past.list_runs,
    "history": past.history,
    "compare": past.compare,
    "rerun": past.rerun,
}.items():
    app.command(name)(function)
app.add_typer(files.app, name="files")
app.add_typer(environment.app, name="environment")
for name, function in {
    "tiers": fleet.tiers,
    "executors": fleet.executors,
    "images": fleet.images,
    "backlog": fleet.backlog,
    "up": processes.up,
    "setup": processes.setup,
    "dispatcher": processes.dispatcher,
}.items():
    app.command(name)(function)
app.add_typer(processes.executor_app, name="executor")


def command() -> Any:
    """The command line as a whole."""
    return typer.main.get_command(app)
