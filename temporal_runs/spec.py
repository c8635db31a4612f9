"""What a user asks for: `RunSpec`, the one input of a Run (design, section 3).

A spec is validated in one place, `RunSpec.parse`, by the client before a Run starts and by the
workflow itself, so that a Run started with any Temporal client is held to the same rules.
"""

import re
from itertools import pairwise
from typing import Annotated, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from temporal_runs.environment import Environment
from temporal_runs.fields import ID_PATTERN, Id, InvalidSpec, ProjectPath, Seconds, Text, VariableName, parsed
from temporal_runs.notices import Notices

CONTRACT_VARIABLES = ("RUN_", "DOMINO_")
"""Prefixes of the variables every container is given; a spec may not set them."""

Revision = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$", max_length=200)
]
"""`latest`, a branch, a commit, or the beginning of one of at least eight characters."""


def check_id(run_id: str) -> None:
    """Raises InvalidSpec for a run id that could not name files and containers."""
    if not re.fullmatch(ID_PATTERN, run_id):
        raise InvalidSpec("id", f"a Run's id should match {ID_PATTERN}, not {run_id!r}")


class Input(BaseModel):
    """Files of another project, to be read at `imports/<project>/<path>` in the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Id
    revision: Revision = "latest"
    path: ProjectPath = ""
    """a folder in it; all of it by default"""


class RunSpec(BaseModel):
    """One Run: a command, on a project's files, in an environment, on a tier's machine. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Id
    command: list[str] | str
    """a program with its arguments, or a line for the shell"""
    tier: Id = "small"
    environment: Environment | None = None
    """None: the project's default, else `DEFAULT_IMAGE`"""
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
    notify: Notices = []
    """who is told when it has ended, beside those whom the project's settings name"""
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
        return parsed(cls, value, "a Run's input, its spec,")

    @property
    def argv(self) -> list[str]:
        """The command as the container gets it: a string goes to the shell."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else self.command

    @property
    def summary(self) -> str:
        """What a person calls this Run: its title, else its command, on one line."""
        text = self.title or (self.command if isinstance(self.command, str) else " ".join(self.command))
        return " ".join(text.split())[:200]
