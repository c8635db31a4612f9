"""What users may write where: names, references and durations; and what is said of a value that is wrong.

Whatever they give as JSON is read by `parsed`, so that every error names the field and what was expected of it.
"""

import json
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""Names of Runs, projects, tiers, secrets, environments and registries."""

IMAGE_PATTERN = (
    r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
)
"""Docker's reference grammar: [host[:port]/]name[:tag][@digest]."""


def within_project(path: str) -> str:
    """A path below a project's root; raises ValueError for one that is absolute, or has an empty, `.` or `..` part."""
    if path and {"", ".", ".."} & set(path.split("/")):
        raise ValueError("should be a path below the project's root, without `.`, `..` or a `/` at an end")
    return path


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
ImageReference = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN, max_length=255)]
ProjectPath = Annotated[str, StringConstraints(max_length=1000), AfterValidator(within_project)]
Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600)]
Text = Annotated[str, StringConstraints(max_length=200)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]

Parsed = TypeVar("Parsed", bound=BaseModel)


class InvalidSpec(ValueError):
    """A spec that cannot become a Run. `field` is the dotted name of what is wrong, "" for the whole."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field


def parsed(model: type[Parsed], value: object, what: str) -> Parsed:
    """The model in a JSON value; raises InvalidSpec with the first wrong field's name. `what` begins its sentence."""
    if isinstance(value, model):
        return value
    if not isinstance(value, dict):
        raise InvalidSpec("", f"{what} is one JSON object, not {_kind(value)}")
    try:
        # By way of JSON, so that the types are JSON's own, whoever sent them.
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise _first_problem(error, model) from None
    except (TypeError, ValueError) as error:
        raise InvalidSpec("", f"{what} is not plain JSON: {error}") from None


def _first_problem(error: ValidationError, model: type[BaseModel]) -> InvalidSpec:
    problem = error.errors(include_url=False, include_context=False)[0]
    parts = [str(part) for part in problem["loc"]]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"unknown key; known are {', '.join(model.model_fields)}" if len(parts) == 1 else "unknown key"
    elif problem["type"] != "missing" and not isinstance(problem["input"], dict):
        message = f"{message}, not {_shown(problem['input'])}"
    return InvalidSpec(".".join(parts), message)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: object) -> str:
    names: dict[type, str] = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return "nothing" if value is None else names.get(type(value), "something else")
