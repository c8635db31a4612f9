"""`temporal-runs environment`: named environments, their revisions, and which one a project uses."""

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from temporal_runs.environment import Environment
    from temporal_runs.environments import Environments, Revision

app = typer.Typer(help="Make, revise and look at named environments.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The environment's name.", show_default=False)]
File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="JSON or TOML file of an environment.", readable=False)
]
Image = Annotated[str | None, typer.Option(help="Instead of a file: an image as it is.")]
Base = Annotated[str | None, typer.Option(help="Instead of a file: the image to build on.")]
Instruction = Annotated[list[str] | None, typer.Option(help="A Dockerfile line on the base; may be repeated.")]
Summary = Annotated[str, typer.Option(help="What is new in it.")]
Number = Annotated[int | None, typer.Option("--revision", min=1, help="Which revision. [default: the newest]")]


@app.command()
def create(
    name: Name,
    file: File = None,
    image: Image = None,
    base: Base = None,
    instruction: Instruction = None,
    summary: Summary = "",
    as_json: Json = False,
) -> int:
    """Make a new environment, and its revision 1."""
    from temporal_runs.files import login_name

    environment = _given(file, image, base, instruction)
    made = _opened().create(name, environment, summary=summary, author=login_name())
    return _told(made, as_json=as_json)


@app.command()
def revise(
    name: Name,
    file: File = None,
    image: Image = None,
    base: Base = None,
    instruction: Instruction = None,
    summary: Summary = "",
    as_json: Json = False,
) -> int:
    """Make the next revision. Those before it stay as they are."""
    from temporal_runs.files import login_name

    environment = _given(file, image, base, instruction)
    made = _opened().revise(name, environment, summary=summary, author=login_name())
    return _told(made, as_json=as_json)


@app.command("list")
def list_environments(as_json: Json = False) -> int:
    """List the environments, with the newest revision of each."""
    from temporal_runs.cli import output

    found = _opened().list()
    if as_json:
        output.print_json(found)
    else:
        output.on_stdout().print(output.table(("ENVIRONMENT", *_COLUMNS), [(one.label, *_row(one)) for one in found]))
    return exits.DONE


@app.command()
def show(name: Name, revision: Number = None, as_json: Json = False) -> int:
    """Show what a revision is made of, in a form that `create` and `revise` read, and which others there are."""
    from temporal_runs.cli import output

    environments = _opened()
    shown = environments.show(name, revision or "latest")
    if as_json:
        output.print_json(shown)
        return exits.DONE
    rows = [(one.label, *_row(one)) for one in environments.revisions(name)]
    output.on_stderr().print(output.table(("REVISION", *_COLUMNS), rows))
    output.on_stderr().print(f"{shown.label}:")
    output.print_json(shown.environment)
    return exits.DONE


@app.command()
def use(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The environment.", show_default=False)] = None,
    revision: Number = None,
    project: Annotated[str | None, typer.Option(help="The project. [default: the folder's name]")] = None,
    none: Annotated[bool, typer.Option("--none", help="Use no environment of the project's own any more.")] = False,
    as_json: Json = False,
) -> int:
    """Settle what a project's Runs use that name no environment: each Run the newest revision, or always one."""
    from temporal_runs.cli import output
    from temporal_runs.cli.files import HERE, opened
    from temporal_runs.environment import NamedEnvironment
    from temporal_runs.environments import Environments

    if (name is None) != none or (none and revision is not None):
        raise exits.UsageProblem("name an environment, or write --none for none")
    files, project = opened(project, HERE)
    named = None
    if name is not None:
        Environments(files.store).show(name, revision or "latest")
        named = NamedEnvironment(name=name, revision=revision or "latest")
    files.settle(project, files.settings(project).changed(environment=named))
    if as_json:
        output.print_json({"project": project, "environment": named and named.model_dump()})
    else:
        output.on_stdout().print(f"{project}: Runs use {named or 'the default image'} where their spec names nothing")
    return exits.DONE


def read_environment(file: Path, what: str) -> Any:
    """The JSON value in a JSON or TOML file; its keys are yet to be checked. Raises UsageProblem."""
    from temporal_runs.cli import session

    text = session.readable_text(file, what)
    try:
        return tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise exits.UsageProblem(f"{what} {file} is not TOML: {error}") from None
    except json.JSONDecodeError as error:
        raise exits.UsageProblem(
            f"{what} {file} is not JSON: {error.msg} at line {error.lineno} (a TOML file's name ends in .toml)"
        ) from None


_COLUMNS = ("MADE", "BY", "SUMMARY")


def _row(revision: "Revision") -> tuple[str, str, str]:
    return f"{revision.at.astimezone():%Y-%m-%d %H:%M:%S}", revision.author, revision.summary


def _given(file: Path | None, image: str | None, base: str | None, instructions: list[str] | None) -> "Environment":
    from temporal_runs.environment import Environment

    options = {"image": image, "base": base, "instructions": instructions}
    said = {name: value for name, value in options.items() if value}
    if (file is None) == (not said):
        raise exits.UsageProblem("name a file of an environment, or write --image or --base: one of them")
    return Environment.parse(said if file is None else read_environment(file, "the environment"))


def _told(made: "Revision", *, as_json: bool) -> int:
    from temporal_runs.cli import output

    if as_json:
        output.print_json(made)
    else:
        output.on_stdout().print(made.label)
    return exits.DONE


def _opened() -> "Environments":
    from temporal_runs.environments import Environments
    from temporal_runs.files import Files

    return Environments(Files().store)
