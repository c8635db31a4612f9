"""`temporal-runs files`: the files of projects, and how they differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from temporal_runs.files import Files

app = typer.Typer(help="Push, pull and look at the files of a project.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[str | None, typer.Option(help="The project. [default: the folder's name]")]
# `readable=False`: we say it ourselves, with the folder's whole name.
Folder = Annotated[Path, typer.Argument(help="The folder with the project's files.", readable=False)]
Revision = Annotated[str, typer.Option(help="Which version.")]
HERE = Path()


@app.command()
def push(
    folder: Folder = HERE,
    project: Project = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What was changed.")] = "pushed",
    as_json: Json = False,
) -> int:
    """Make the folder's files the project's next version."""
    from temporal_runs.cli import output, session, transfers
    from temporal_runs.files import Files

    files = Files()
    folder = session.readable_folder(folder)
    if project is None:
        session.require_modest(folder)
    name = session.project_name(project, folder)
    pushed = transfers.push(files, name, folder, message)
    if as_json:
        output.print_json({"project": name, **transfers.pushed_as_json(pushed)})
    else:
        for line in transfers.pushed_lines(name, pushed):
            output.on_stdout().print(line)
    return exits.DONE


@app.command()
def pull(
    folder: Folder = HERE,
    project: Project = None,
    revision: Revision = "latest",
    results: Annotated[str | None, typer.Option(metavar="RUN", help="Only what this Run added and changed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what was changed in the folder.")] = False,
    as_json: Json = False,
) -> int:
    """Bring a version of the project into the folder. What was changed there is not overwritten."""
    from dataclasses import asdict

    from temporal_runs.cli import output, session, transfers
    from temporal_runs.files import Files

    if results is not None and revision != "latest":
        raise exits.UsageProblem("--results and --revision exclude each other: leave one of them out")
    files = Files()
    name = session.project_name(project, folder.resolve())
    if results is None:
        commit = files.store.resolve(name, revision)
        pulled = transfers.pull(files, name, folder, commit, force=force)
    else:
        commit = files.version_of_run(name, results).id
        pulled = files.pull_results(name, folder, results, force=force)
    if as_json:
        output.print_json({"project": name, "folder": str(folder.resolve()), "commit": commit, **asdict(pulled)})
    else:
        what = f"commit {commit[:12]}" if results is None else f"results of Run {results}"
        output.on_stdout().print(transfers.pulled_line(pulled, folder.resolve(), what))
    return exits.DONE


@app.command()
def log(
    folder: Folder = HERE,
    project: Project = None,
    revision: Revision = "latest",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: Json = False,
) -> int:
    """Show the project's versions, the newest first, and which Run made which."""
    from dataclasses import asdict

    from temporal_runs.cli import output
    from temporal_runs.files import run_of

    files, name = opened(project, folder)
    commits = files.log(name, revision, limit)
    if as_json:
        output.print_json(
            [{**asdict(commit), "at": commit.at.isoformat(), "run": run_of(commit)} for commit in commits]
        )
        return exits.DONE
    rows = [
        (
            commit.id[:12],
            f"{commit.at.astimezone():%Y-%m-%d %H:%M:%S}",
            commit.author,
            run_of(commit) or "",
            commit.message + (" (merged)" if len(commit.parents) > 1 else ""),
        )
        for commit in commits
    ]
    output.on_stdout().print(output.table(("COMMIT", "AT", "AUTHOR", "RUN", "MESSAGE"), rows))
    return exits.DONE


@app.command()
def ls(folder: Folder = HERE, project: Project = None, revision: Revision = "latest", as_json: Json = False) -> int:
    """List the files of a version."""
    from temporal_runs.cli import output
    from temporal_runs.store.model import shown

    files, name = opened(project, folder)
    entries = (entry for entry in files.ls(name, revision) if entry.kind != "folder")
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
def cat(
    path: Annotated[str, typer.Argument(help="The file's path in the project.")],
    project: Project = None,
    revision: Revision = "latest",
) -> int:
    """Print what is in a file of a version."""
    from temporal_runs.cli.follow import stdout_bytes

    files, name = opened(project, HERE)
    out = stdout_bytes()
    for piece in files.cat(name, path, revision):
        out.write(piece)
    out.flush()
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

    from temporal_runs.cli import output

    files, name = opened(project, folder)
    later = files.store.resolve(name, new)
    earlier = old or files.base_of(name, folder)
    if earlier is None:
        parents = files.store.commit(name, later).parents
        if not parents:
            raise exits.UsageProblem(f"{later[:12]} is the first version of {name}: name another with --to")
        earlier = parents[0]
    changes = files.diff(name, earlier, later)
    if as_json:
        output.print_json([asdict(change) for change in changes])
        return exits.DONE
    for change in changes:
        mark = {"added": "A", "changed": "M", "deleted": "D"}[change.kind]
        output.on_stdout().print(f"{mark}  {change.path}  ({output.size(change.size)})")
    return exits.DONE


@app.command()
def restore(
    revision: Annotated[str, typer.Argument(help="The version to go back to.")],
    paths: Annotated[list[str] | None, typer.Argument(help="Only these files and folders.")] = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Make a next version in which all files, or some, are as they were. Folders are left as they are: pull then."""
    from dataclasses import asdict

    from temporal_runs.cli import output, transfers

    files, name = opened(project, HERE)
    landed = files.restore(name, revision, *(paths or ()))
    if as_json:
        output.print_json({"project": name, **asdict(landed)})
    else:
        output.on_stdout().print(f"{name}: commit {landed.commit[:12]}, {transfers.counts(landed.changes)}")
    return exits.DONE


@app.command()
def branch(
    new: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The branch to make.")] = None,
    project: Project = None,
    revision: Revision = "latest",
    as_json: Json = False,
) -> int:
    """List the branches, or make one at a version."""
    from temporal_runs.cli import output

    files, name = opened(project, HERE)
    if new is not None:
        files.branch(name, new, revision)
    found = files.branches(name)
    if as_json:
        output.print_json(found)
    else:
        output.on_stdout().print(output.table(("BRANCH", "COMMIT"), [(ref, at[:12]) for ref, at in found.items()]))
    return exits.DONE


@app.command()
def settings(
    project: Project = None,
    on_conflict: Annotated[
        Literal["keep_both", "branch", "last_wins"] | None,
        typer.Option(help="What becomes of results where others changed the same files."),
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TO[=OUTCOMES]",
            help="URL or e-mail address that is told when Runs end: ada@example.org=Failed,Error; `none`: nobody. "
            "May be repeated.",
        ),
    ] = None,
    max_running: Annotated[int | None, typer.Option(help="Runs on their way at once; 0: any number.")] = None,
    max_files: Annotated[int | None, typer.Option(help="Files a push may bring; 0: any number.")] = None,
    max_file_size: Annotated[str | None, typer.Option(help="Size of a file: 512MiB, 4GiB; 0: any.")] = None,
    max_total: Annotated[str | None, typer.Option(help="Size of all files: 512MiB, 4GiB; 0: any.")] = None,
    as_json: Json = False,
) -> int:
    """Show what is settled for the project, or settle it."""
    from pydantic import ValidationError

    from temporal_runs.cli import output, session
    from temporal_runs.settings import memory_bytes

    files, name = opened(project, HERE)
    sizes = {"max_file_size": max_file_size, "max_total": max_total}
    try:
        limits = {at: size and memory_bytes(size) for at, size in sizes.items()}
    except ValueError as error:
        raise exits.UsageProblem(str(error)) from None
    limits |= {"max_running": max_running, "max_files": max_files}
    given: dict[str, object] = {at: value or None for at, value in limits.items() if value is not None}
    if on_conflict is not None:
        given["on_conflict"] = on_conflict
    if notify:
        given["notify"] = [] if notify == ["none"] else session.notices(notify)
    if given:
        try:
            files.settle(name, files.settings(name).changed(**given))
        except ValidationError as error:
            problem = error.errors()[0]
            raise exits.UsageProblem(f"--{problem['loc'][0]}: {problem['msg']}".replace("_", "-")) from None
    settled = files.settings(name)
    if as_json:
        output.print_json(settled)
    else:
        said = {**dict(settled), "notify": ", ".join(str(notice) for notice in settled.notify) or None}
        rows = [(at, "-" if value is None else str(value)) for at, value in said.items()]
        output.on_stdout().print(output.table(("SETTING", "VALUE"), rows))
    return exits.DONE


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> int:
    """Remove from the store what no version of any project refers to. Safe while Runs execute."""
    from dataclasses import asdict

    from temporal_runs.cli import output
    from temporal_runs.files import Files

    swept = Files().gc(dry_run=dry_run)
    if as_json:
        output.print_json(asdict(swept))
    else:
        verb = "could be removed" if dry_run else "removed"
        output.on_stdout().print(f"{output.plural(swept.objects, 'object')} ({output.size(swept.bytes)}) {verb}")
    return exits.DONE


@app.command()
def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Heal it from this machine's folders and caches.")] = False,
    as_json: Json = False,
) -> int:
    """Read everything in the store, and compare it with its hash."""
    from dataclasses import asdict

    from temporal_runs.cli import output
    from temporal_runs.files import Files

    files = Files()
    with output.progress("verifying") as progress:
        damages = list(files.verify(repair=repair, progress=progress))
    left = [damage for damage in damages if not damage.healed]
    if as_json:
        output.print_json([asdict(damage) for damage in damages])
    for damage in damages if not as_json else ():
        healed = "healed: " if damage.healed else ""
        output.on_stdout().print(f"{healed}{damage.project}: {damage.path or '(no file)'}: {damage.problem}")
    if left:
        advice = "restore a backup" if repair else "try --repair where the files were pushed from, and on executors"
        raise exits.UsageProblem(f"{output.plural(len(left), 'object')} damaged: {advice}")
    if not as_json:
        output.on_stdout().print("the file store is whole")
    return exits.DONE


def opened(project: str | None, folder: Path) -> "tuple[Files, str]":
    """The files, and the name of the project."""
    from temporal_runs.cli import session
    from temporal_runs.files import Files

    return Files(), session.project_name(project, folder.resolve())
