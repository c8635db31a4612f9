"""What a command runs in: a Docker image as it is, one that is built, or the name of an environment in the store.

A spec holds references only: of credentials and build secrets their names, never their values.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from temporal_runs.fields import (
    Id,
    ImageReference,
    Seconds,
    VariableName,
    parsed,
    within_project,
)

DEFAULT_IMAGE = "python:3.11-slim-bookworm"
"""The environment of a spec that names none, in a project that has no other default."""

SETUP_FOLDER = ".temporal-runs"
"""Folder of the build context that is ours: `setup_files` and the requirements go there."""

SETUP_REQUIREMENTS = f"{SETUP_FOLDER}/requirements.txt"
"""Where in the build context the project's requirements go."""

SCRIPT_BYTES = 64 * 1024
"""Linux passes at most 128 KiB as one argument, and a script of a Run is one."""

_SETUP_PLACE = "/tmp/temporal-runs/"  # noqa: S108 - in the image, while it is built

# Debian's pip refuses to install beside its own packages unless told (PEP 668); others ignore it.
_PIP = "PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir -r"


def _script(text: str) -> str:
    if len(text.encode()) > SCRIPT_BYTES:
        raise ValueError(f"should be a script of at most {SCRIPT_BYTES // 1024} KiB: keep longer ones in the project")
    if "\0" in text:
        raise ValueError("should be a script, without NUL characters")
    return text


def _folder(path: str) -> str:
    return path if path == "." else within_project(path)


ProjectFile = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(within_project)]
ProjectFolder = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_folder)]
Script = Annotated[str, AfterValidator(_script)]
RevisionNumber = Annotated[int, Field(ge=1)]


class NamedEnvironment(BaseModel):
    """A revision of an environment in the store, or whichever is its newest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Id
    revision: RevisionNumber | Literal["latest"] = "latest"

    def __str__(self) -> str:
        return self.name if self.revision == "latest" else f"{self.name}#{self.revision}"


class Environment(BaseModel):
    """One of `image`, `base` with `instructions`, `dockerfile` with `context`, or `name` with `revision`.

    Scripts run with /bin/sh, or with the shell that their first line names (`#!/bin/bash`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: ImageReference | None = None
    """taken as it is, unless there are requirements or setup scripts"""
    base: ImageReference | None = None
    instructions: Annotated[list[str], Field(max_length=500)] = []
    """Dockerfile lines on the base"""
    dockerfile: ProjectFile | None = None
    """a file of the project, at the Run's commit"""
    context: ProjectFolder = "."
    """the folder of the project that a Dockerfile copies from"""
    name: Id | None = None
    """an environment in the store; it says all the rest"""
    revision: RevisionNumber | Literal["latest"] = "latest"
    """of the named environment"""

    credentials: Id | None = None
    """name of a registry in the executors' settings, for pulling the image or base"""
    args: dict[VariableName, str] = {}
    """build arguments"""
    secrets: dict[Id, Id] = {}
    """Build secret's id → name of a file in the executor's `HOME/secrets`; the value never leaves the executor."""
    build_limit: Seconds = 3600
    """how long a build may take"""

    requirements: ProjectFile | None = None
    """a requirements file of the project, installed with pip; true: `requirements.txt`"""
    pre_setup: Script | None = None
    """runs while the image is built, as root, before the requirements are installed"""
    post_setup: Script | None = None
    """the same, after them"""
    pre_run: Script | None = None
    """runs in the container, as the command's user, right before the command"""
    post_run: Script | None = None
    """the same, right after it"""

    @field_validator("requirements", mode="before")
    @classmethod
    def requirements_have_a_usual_name(cls, given: object) -> object:
        """`true` is the file's usual name, `false` is none."""
        return {True: "requirements.txt", False: None}[given] if isinstance(given, bool) else given

    @field_validator("revision", mode="before")
    @classmethod
    def a_revision_is_a_number_or_latest(cls, given: object) -> object:
        """Raises ValueError in words of its own: of a union, pydantic would only speak of one branch."""
        if given != "latest" and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
            raise ValueError('should be the number of a revision, 1 or more, or "latest"')
        return given

    @model_validator(mode="after")
    def one_kind(self) -> Self:
        """Raises ValueError unless it is of one kind, and says nothing that goes with another."""
        said = self._said
        kinds = said & {"image", "base", "dockerfile", "name"}
        if len(kinds) != 1:
            raise ValueError('needs either "image", "base" with "instructions", "dockerfile" or "name"')
        if self.name and (more := said - {"name", "revision"}):
            raise ValueError(f'"{min(more)}" does not go with "name": make a revision of {self.name} that has it')
        for part, whole in (("revision", "name"), ("instructions", "base"), ("context", "dockerfile")):
            if part in said and whole not in said:
                raise ValueError(f'"{part}" goes with "{whole}", not with "{min(kinds)}"')
        if not self.is_built and (of_builds := said & {"args", "secrets"}):
            raise ValueError(f'"{min(of_builds)}" is for builds, and an "image" alone is not built')
        if any(re.match(r"\s*FROM\b", line, re.IGNORECASE) for line in self.instructions):
            raise ValueError('"instructions" may not hold FROM: name the image in "base"')
        return self

    @model_serializer(mode="wrap")
    def what_was_said(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """No defaults: it is kept in histories and shown to people."""
        return {at: value for at, value in serialize(self).items() if at in self._said}

    @classmethod
    def parse(cls, value: object) -> Self:
        """The environment in a JSON value; raises InvalidSpec with the first wrong field's name."""
        return parsed(cls, value, "an environment")

    @property
    def is_built(self) -> bool:
        """Whether its image has to be built; else it is `image` as it is, or a name yet to be resolved."""
        return bool(self.base or self.dockerfile or self.requirements or self.pre_setup or self.post_setup)

    @property
    def starts_from(self) -> str | None:
        """The image that it is, or is built on; None where its Dockerfile says."""
        return self.base or self.image

    def setup_files(self) -> dict[str, str]:
        """Path in the build context → text, of what `setup_instructions` copies beside `SETUP_REQUIREMENTS`."""
        scripts = {"pre_setup": self.pre_setup, "post_setup": self.post_setup}
        return {_script_file(name): text for name, text in scripts.items() if text}

    def setup_instructions(self) -> list[str]:
        """The Dockerfile lines that `pre_setup`, `requirements` and `post_setup` become, to be the last of all.

        The image is left with root as its user, which Runs never are.
        """
        # Each file is copied right before its use, so that a change to one leaves the layers before it as they are.
        # No heredocs: the classic builder knows none.
        steps = [
            *_script_steps("pre_setup", self.pre_setup),
            *(_steps(SETUP_REQUIREMENTS, _PIP) if self.requirements else ()),
            *_script_steps("post_setup", self.post_setup),
        ]
        return ["USER 0", *steps] if steps else []

    @property
    def _said(self) -> set[str]:
        """Names of the fields that differ from their default."""
        return {at for at, field in type(self).model_fields.items() if getattr(self, at) != field.default}


def interpreter(script: str) -> list[str]:
    """The program, with its options, that a script is for."""
    first = script.partition("\n")[0]
    return first[2:].split() if first.startswith("#!") and first[2:].strip() else ["/bin/sh"]


def _script_steps(name: str, script: str | None) -> list[str]:
    return _steps(_script_file(name), " ".join(interpreter(script))) if script else []


def _script_file(name: str) -> str:
    return f"{SETUP_FOLDER}/{name}.sh"


def _steps(file: str, program: str) -> list[str]:
    place = _SETUP_PLACE + file.rpartition("/")[2]
    return [f"COPY {file} {place}", f"RUN {program} {place}"]
