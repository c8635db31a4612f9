"""What an environment's image is made of: its Dockerfile, the files that this takes, and the key that stands for both.

Environments with the same key have the same image, wherever in the fleet it is built.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3
from docker.utils.build import PatternMatcher  # docker's own understanding of its patterns

from temporal_runs.engine import Build, ContextFile, Dockerfile
from temporal_runs.environment import SETUP_FOLDER, SETUP_REQUIREMENTS, Environment
from temporal_runs.steps import Inputs
from temporal_runs.store import Entry, Store, UnknownPath

IGNORE = ".dockerignore"


@dataclass(frozen=True)
class Recipe:
    """Of one environment, at the commit of a Run."""

    dockerfile: Dockerfile
    args: Mapping[str, str]
    secrets: Mapping[str, str]
    """build secret's id → name of a file in the executor's `HOME/secrets`; no part of the key"""
    files: list[tuple[str, ContextFile]]
    """of the build's context, each with its hash"""

    def key(self, bases: Mapping[str, str]) -> str:
        """A hash of all that decides the image. `bases`: each base's name that is the same on all machines."""
        content = [
            self.dockerfile.text,
            sorted(self.args.items()),
            sorted(bases.items()),
            sorted([file.path.hex(), file.kind, file.executable, digest] for digest, file in self.files),
        ]
        return blake3(json.dumps(content).encode()).hexdigest()[:32]

    def build(self, bases: Mapping[str, str]) -> Build:
        """The build. `bases`: the id of the image on this machine that is each base."""
        return Build(self.dockerfile, bases, [file for _, file in self.files], self.args)


def recipe_of(inputs: Inputs, store: Store) -> Recipe:
    """Reads what the environment names of the project; raises UnknownPath and StoreError."""
    environment, project, commit = inputs.runs_in, inputs.spec.project, inputs.commit
    texts = environment.setup_files()
    if environment.requirements:
        texts[SETUP_REQUIREMENTS] = _text(store, project, commit, environment.requirements)
    files = [(blake3(text.encode()).hexdigest(), ContextFile.of(path, text)) for path, text in texts.items()]
    dockerfile = _dockerfile(environment, store, project, commit)
    if environment.dockerfile:
        files += _context(store, project, commit, environment.context, dockerfile)
    return Recipe(dockerfile, environment.args, environment.secrets, files)


def _dockerfile(environment: Environment, store: Store, project: str, commit: str) -> Dockerfile:
    if environment.dockerfile:
        lines = _text(store, project, commit, environment.dockerfile).splitlines()
    else:
        lines = [f"FROM {environment.starts_from}", *environment.instructions]
    text = "\n".join([*lines, *environment.setup_instructions(), ""])
    return Dockerfile(text, environment.args)


def _text(store: Store, project: str, commit: str, path: str) -> str:
    return b"".join(store.read(project, commit, path)).decode(errors="replace")


def _context(
    store: Store, project: str, commit: str, folder: str, dockerfile: Dockerfile
) -> Iterator[tuple[str, ContextFile]]:
    """The files that the Dockerfile takes: others decide nothing, and a change to them is to build nothing anew."""
    folder = "" if folder == "." else folder
    try:
        ignored = _matcher(_text(store, project, commit, f"{folder}/{IGNORE}".lstrip("/")).splitlines())
    except UnknownPath:
        ignored = _matcher([])
    taken = None if dockerfile.sources is None else _matcher(dockerfile.sources)
    for entry, content in store.contents(project, commit, folder):
        path = entry.path.decode(errors="surrogateescape")
        if path == IGNORE or path.startswith(f"{SETUP_FOLDER}/") or ignored.matches(path):
            continue
        if taken is None or taken.matches(path):
            yield (
                _identity(entry),
                ContextFile(entry.path, entry.kind, entry.executable, entry.size, entry.link, content),
            )


def _matcher(patterns: list[str]) -> Any:
    return PatternMatcher([line for line in patterns if line.strip() and not line.startswith("#")])


def _identity(entry: Entry) -> str:
    return entry.link.hex() if entry.kind == "link" else entry.hash if entry.kind == "file" else ""
