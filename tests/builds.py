"""Builds to be given to an engine."""

from collections.abc import Sequence

from temporal_runs.engine import Build, ContextFile, Dockerfile, Engine


def built_on(engine: Engine, base: str, *instructions: str, context: Sequence[ContextFile] = ()) -> Build:
    """A base of the machine with instructions on top."""
    dockerfile = Dockerfile("\n".join([f"FROM {base}", *instructions, ""]))
    found = engine.find_image(base)
    return Build(dockerfile, {base: found.id if found else base}, context)
