"""`temporal-runs files`: the files of projects, and how they differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from temporal_runs.cli import folders
    from temporal_runs.settings import Settings
    from temporal_runs.store import Pushed, Store

app = typer.Typer(help="Push, pull and look at the files of a project.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[str | None, typer.Option(help="The project. [default: the folder's name]")]
# `readable=False`: we say it ourselves, with the folder's whole name.
Folder = Annotated[Path, typer.Argument(help="The folder with the project's files.", readable=False)]
HERE = Path()


@app.command()
def push(
    folder: Folder = HERE,
    project: Project = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What was changed.")] = "pushed",
    as_json: Json = False,
) -> int:
    """Make the folder's files the project's next version."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    settings = Settings.load()
    folder = session.readable_folder(folder)
    if project is None:
        session.require_modest(folder)
    name = session.project_name(project, folder)
    pushed = push_folder(session.open_store(settings), settings, name, folder, message)
    if as_json:
        output.print_json({"project": name, **pushed_as_json(pushed)})
    else:
        for line in pushed_lines(name, pushed):
            output.on_stdout().print(line)
    return exits.DONE


@app.command()
def pull(
    folder: Folder = HERE,
    project: Project = None,
    revision: Annotated[str, typer.Option(help="Which version.")] = "latest",
    force: Annotated[bool, typer.Option("--force", help="Overwrite what was changed in the folder.")] = False,
    as_json: Json = False,
) -> int:
    """Bring a version of the project into the folder. What was changed there is not overwritten."""
    from dataclasses import asdict

    from temporal_runs.cli import folders, output, session
    from temporal_runs.settings import Settings

    settings = Settings.load()
    folder.mkdir(parents=True, exist_ok=True)
    folder = session.readable_folder(folder)
    name = session.project_name(project, folder)
    store = session.open_store(settings)
    pulled = folders.pull(store, settings, name, folder, store.resolve(name, revision), force=force)
    if as_json:
        output.print_json({"project": name, "folder": str(folder), **asdict(pulled)})
    else:
        output.on_stdout().print(pulled_line(pulled, folder))
    return exits.DONE


@app.command()
def log(
    folder: Folder = HERE,
    project: Project = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: Json = False,
) -> int:
    """Show the project's versions, the newest first."""
    from dataclasses import asdict

    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    name = session.project_name(project, folder.resolve())
    commits = session.open_store(Settings.load()).log(name, limit=limit)
    if as_json:
        output.print_json([{**asdict(commit), "at": commit.at.isoformat()} for commit in commits])
        return exits.DONE
    rows = [
        (commit.id[:12], f"{commit.at.astimezone():%Y-%m-%d %H:%M:%S}", commit.author, commit.message)
        for commit in commits
    ]
    output.on_stdout().print(output.table(("COMMIT", "AT", "AUTHOR", "MESSAGE"), rows))
    return exits.DONE


@app.command()
def ls(
    folder: Folder = HERE,
    project: Project = None,
    revision: Annotated[str, typer.Option(help="Which version.")] = "latest",
    as_json: Json = False,
) -> int:
    """List the files of a version."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings
    from temporal_runs.store.model import shown

    name = session.project_name(project, folder.resolve())
    store = session.open_store(Settings.load())
    entries = [entry for entry in store.entries(name, store.resolve(name, revision)) if entry.kind != "folder"]
    if as_json:
        output.print_json(
            [
                {
                    "path": shown(entry.path),
                    "kind": entry.kind,
                    "size": entry.size,
                    "executable": entry.executable,
                    **({"link": shown(entry.link)} if entry.kind == "link" else {"hash": entry.hash}),
                }
                for entry in entries
            ]
        )
        return exits.DONE
    for entry in entries:
        target = f" -> {shown(entry.link)}" if entry.kind == "link" else ""
        output.on_stdout().print(f"{output.size(entry.size):>10}  {shown(entry.path)}{target}")
    return exits.DONE


@app.command()
def diff(
    folder: Folder = HERE,
    project: Project = None,
    old: Annotated[
        str | None, typer.Option("--from", help="[default: what the folder was last pushed as or pulled from]")
    ] = None,
    new: Annotated[str, typer.Option("--to", help="Which version.")] = "latest",
    as_json: Json = False,
) -> int:
    """Show which files differ between two versions: by default, what is new since the folder's last push or pull."""
    from dataclasses import asdict

    from temporal_runs.cli import folders, output, session
    from temporal_runs.settings import Settings

    settings = Settings.load()
    folder = folder.resolve()
    name = session.project_name(project, folder)
    store = session.open_store(settings)
    later = store.resolve(name, new)
    earlier = old or folders.Link.base_of(settings, folder, name)
    if earlier is None:
        parents = store.commit(name, later).parents
        if not parents:
            raise exits.UsageProblem(f"{later[:12]} is the first version of {name}: name another with --to")
        earlier = parents[0]
    changes = store.diff(name, store.resolve(name, earlier), later)
    if as_json:
        output.print_json([asdict(change) for change in changes])
        return exits.DONE
    for change in changes:
        mark = {"added": "A", "changed": "M", "deleted": "D"}[change.kind]
        output.on_stdout().print(f"{mark}  {change.path}  ({output.size(change.size)})")
    return exits.DONE


def push_folder(store: "Store", settings: "Settings", project: str, folder: Path, message: str) -> "Pushed":
    """Pushes, with progress; HOME remembers what the folder was pushed as."""
    from temporal_runs.cli import folders, output

    base = folders.Link.base_of(settings, folder, project)
    index = folders.Link.index_path(settings, folder)
    with output.progress(f"pushing {folder}") as progress:
        pushed = store.push(
            project, folder, base=base, author=login_name(), message=message, index=index, progress=progress
        )
    folders.Link(folder, project, pushed.version).save(settings)
    return pushed


def pushed_lines(project: str, pushed: "Pushed") -> list[str]:
    """What a push did, in words."""
    from temporal_runs.cli import output

    changes, landed = pushed.landed.changes, pushed.landed
    counts = f"{changes.added} added, {changes.changed} changed, {changes.deleted} deleted"
    lines = [f"{project}: commit {landed.commit[:12]}, {counts} ({output.size(changes.bytes)})"]
    lines += [f"  changed here and in the project: {path}" for path in landed.conflicts]
    lines += [f"  skipped: {skipped}" for skipped in landed.skipped]
    return lines


def pushed_as_json(pushed: "Pushed") -> dict[str, object]:
    """What a push did, for programs."""
    from dataclasses import asdict

    landed = asdict(pushed.landed)
    return {"commit": landed.pop("commit"), "version": pushed.version, **landed}


def pulled_line(pulled: "folders.Pulled", folder: Path) -> str:
    """What a pull did, in words."""
    from temporal_runs.cli import output

    counts = f"{output.plural(pulled.written, 'file')} written, {pulled.deleted} deleted"
    return f"{folder}: commit {pulled.commit[:12]}, {counts} ({output.size(pulled.bytes)})"


def login_name() -> str:
    """Who is doing this."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "anonymous"
