"""What a user asks for: `RunSpec`, the one input of a Run (design, section 3).

A spec is validated in one place, `RunSpec.parse`, by the client before a Run starts and by the
workflow itself, so that a Run started with any Temporal client is held to the same rules.
"""

import json
import re
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""Run ids, project, tier and secret names."""

IMAGE_PATTERN = (
    r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
)
"""Docker's reference grammar: [host[:port]/]name[:tag][@digest]."""

DEFAULT_IMAGE = "python:3.11-slim-bookworm"
"""The environment of a spec that names none."""

CONTRACT_VARIABLES = ("RUN_", "DOMINO_")
"""Prefixes of the variables every container is given; a spec may not set them."""

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
ImageReference = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN, max_length=255)]
Revision = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$", max_length=200)
]
"""`latest`, a branch, a commit, or the beginning of one of at least eight characters."""
Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600)]
Text = Annotated[str, StringConstraints(max_length=200)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]


class InvalidSpec(ValueError):
    """A spec that cannot become a Run. `field` is the dotted name of what is wrong, "" for the whole."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field


def check_id(run_id: str) -> None:
    """Raises InvalidSpec for a run id that could not name files and containers."""
    if not re.fullmatch(ID_PATTERN, run_id):
        raise InvalidSpec("id", f"a Run's id should match {ID_PATTERN}, not {run_id!r}")


class Environment(BaseModel):
    """The Docker image a command runs in: `image` as it is, or `base` with Dockerfile lines on top."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: ImageReference | None = None
    base: ImageReference | None = None
    instructions: Annotated[list[str], Field(max_length=500)] = []

    @model_validator(mode="after")
    def one_kind(self) -> Self:
        """Raises ValueError unless it is either an image or a base with instructions."""
        if (self.image is None) == (self.base is None):
            raise ValueError('needs either "image", or "base" and "instructions"')
        if self.image is not None and self.instructions:
            raise ValueError('"instructions" go with "base", not with "image"')
        for line in self.instructions:
            if re.match(r"\s*FROM\b", line, re.IGNORECASE):
                raise ValueError('"instructions" may not hold FROM: name the image in "base"')
        return self


class Input(BaseModel):
    """Files of another project, to be read at `imports/<project>/<path>` in the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Id
    revision: Revision = "latest"
    path: Annotated[str, StringConstraints(max_length=1000)] = ""
    """a folder in it; all of it by default"""

    @field_validator("path")
    @classmethod
    def a_path_stays_in_its_project(cls, path: str) -> str:
        """Raises ValueError for a path that is absolute, or has an empty, `.` or `..` part."""
        if path and {"", ".", ".."} & set(path.split("/")):
            raise ValueError("should name a folder below the project's root, without `.`, `..` or a `/` at an end")
        return path


class RunSpec(BaseModel):
    """One Run: a command, on a project's files, in an environment, on a tier's machine. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Id
    command: list[str] | str
    """a program with its arguments, or a line for the shell"""
    tier: Id = "small"
    environment: Environment = Environment(image=DEFAULT_IMAGE)
    revision: Revision = "latest"
    inputs: Annotated[list[Input], Field(max_length=50)] = []
    mounts: Annotated[list[Id], Field(max_length=50)] = []
    """names of folders that the tier has for reading, at `/datasets/<name>`"""
    results: Literal["merge", "branch"] = "merge"
    """whether results become part of the project's main version, or are left on the branch `runs/<run_id>`"""
    on_conflict: Literal["keep_both", "branch", "last_wins"] | None = None
    """what becomes of a file that others have changed meanwhile; None: as the project's settings say"""
    user: Annotated[int, Field(ge=1, le=2**31)] | None = None
    """number of the user that the command runs as and the files belong to; None: the tier's, else 1000"""
    env: dict[VariableName, str] = {}
    secrets: dict[VariableName, Id] = {}
    """Variable name → name of a file in the executor's `HOME/secrets`; the value never leaves the executor."""
    title: Text | None = None
    owner: Text = "anonymous"
    tags: Annotated[list[Text], Field(max_length=50)] = []
    priority: Annotated[int, Field(ge=1, le=5)] = 3
    time_limit: Seconds | None = None
    queue_limit: Seconds | None = None
    stop_grace: Annotated[float, Field(ge=0, le=3600)] = 10
    on_executor_lost: Literal["error", "restart"] = "error"
    """what becomes of a Run whose command had begun when its executor was lost"""
    max_restarts: Annotated[int, Field(ge=0, le=100)] = 1

    @field_validator("command", mode="before")
    @classmethod
    def a_command_is_a_list_or_a_string(cls, command: object) -> object:
        """Raises ValueError in words of its own: of a union, pydantic would only speak of one branch."""
        words = cast(list[object], command) if isinstance(command, list) else [command]
        if not words or not all(isinstance(word, str) for word in words) or not words[0]:
            raise ValueError("should be a list of strings (program, arguments) or a string for the shell")
        return words if isinstance(command, list) else command

    @model_validator(mode="after")
    def nothing_is_mounted_on_another(self) -> Self:
        """Raises ValueError where an input lies within another one of the same project."""
        places = sorted(f"{one.project}/{one.path}".rstrip("/") + "/" for one in self.inputs)
        for outer, inner in pairwise(places):
            if inner.startswith(outer):
                raise ValueError(f"inputs: {inner.rstrip('/')} is part of {outer.rstrip('/')}: leave one of them out")
        return self

    @model_validator(mode="after")
    def variables_of_the_contract_are_ours(self) -> Self:
        """Raises ValueError where `env` or `secrets` set a variable that the contract sets, or the same one."""
        for name in (*self.env, *self.secrets):
            if name.startswith(CONTRACT_VARIABLES):
                raise ValueError(f"{name} may not be set: RUN_* and DOMINO_* are set for every Run")
        if both := self.env.keys() & self.secrets.keys():
            raise ValueError(f"{min(both)} is in both env and secrets")
        return self

    @classmethod
    def parse(cls, value: object) -> Self:
        """The spec in a JSON value (or a RunSpec); raises InvalidSpec with the first wrong field's name."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise InvalidSpec("", f"a Run's input is one JSON object with its spec, not {_kind(value)}")
        try:
            # By way of JSON, so that the types are JSON's own, whoever sent them.
            return cls.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise _first_problem(error) from None
        except (TypeError, ValueError) as error:
            raise InvalidSpec("", f"the spec is not plain JSON: {error}") from None

    @property
    def argv(self) -> list[str]:
        """The command as the container gets it: a string goes to the shell."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else self.command

    @property
    def summary(self) -> str:
        """What a person calls this Run: its title, else its command, on one line."""
        text = self.title or (self.command if isinstance(self.command, str) else " ".join(self.command))
        return " ".join(text.split())[:200]


def _first_problem(error: ValidationError) -> InvalidSpec:
    problem = error.errors(include_url=False, include_context=False)[0]
    parts = [str(part) for part in problem["loc"]]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"unknown key; known are {', '.join(RunSpec.model_fields)}" if len(parts) == 1 else "unknown key"
    elif problem["type"] != "missing" and not isinstance(problem["input"], dict):
        message = f"{message}, not {_shown(problem['input'])}"
    return InvalidSpec(".".join(parts), message)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: object) -> str:
    names: dict[type, str] = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return "nothing" if value is None else names.get(type(value), "something else")
