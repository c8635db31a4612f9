"""What a Dockerfile says before anything is built: its instructions, the images it starts from, the files it takes."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from dockerfile_parse import DockerfileParser

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_BIND_MOUNT = re.compile(r"--mount=(?:\S*,)?type=bind\b")


@dataclass(frozen=True)
class Instruction:
    """One instruction: its keyword in capitals, what follows it on one line, and the lines it takes, from 1."""

    keyword: str
    value: str
    line: int
    last_line: int

    def __str__(self) -> str:
        return f"{self.keyword} {self.value}"


class Dockerfile:
    """A Dockerfile's text, with the values of its build arguments."""

    def __init__(self, text: str, args: Mapping[str, str] | None = None) -> None:
        self.text = text
        self._args = args or {}

    @cached_property
    def instructions(self) -> list[Instruction]:
        """In their order, as the classic builder counts its steps."""
        text: Any = io.BytesIO(self.text.encode())  # its type says text, its code wants bytes
        parser: Any = DockerfileParser(fileobj=text)
        found = cast(list[dict[str, Any]], parser.structure)
        return [
            Instruction(one["instruction"], one["value"], one["startline"] + 1, one["endline"] + 1)
            for one in found
            if one["instruction"] != "COMMENT"
        ]

    @cached_property
    def bases(self) -> list[str]:
        """The references of the images that its stages start from, each once; neither `scratch` nor its own stages."""
        return list(dict.fromkeys(image for _, image in self._started_from))

    def pinned(self, ids: Mapping[str, str]) -> str:
        """The same text, line for line, with each of the `bases` replaced by what cannot move."""
        lines = self.text.splitlines(keepends=True)
        for instruction, image in self._started_from:
            flags, rest = _flags(instruction.value)
            _, _, stage = rest.partition(" ")
            words = [instruction.keyword, *flags, ids[image], *stage.split()]
            empty = instruction.last_line - instruction.line
            lines[instruction.line - 1 : instruction.last_line] = [" ".join(words) + "\n", *["\n"] * empty]
        return "".join(lines)

    @cached_property
    def sources(self) -> list[str] | None:
        """Patterns of the files that it takes out of its context; None where that can be any."""
        found: list[str] = []
        for one in self.instructions:
            if one.keyword == "ONBUILD" or (one.keyword == "RUN" and _BIND_MOUNT.search(one.value)):
                return None
            if one.keyword in ("COPY", "ADD"):
                flags, rest = _flags(one.value)
                if not any(flag.startswith("--from=") for flag in flags):
                    found += _arguments(rest)[:-1]
        if any("$" in source or not source.strip("./") for source in found):
            return None
        return found

    @property
    def _started_from(self) -> list[tuple[Instruction, str]]:
        defaults: dict[str, str] = {}
        stages = {"scratch"}
        found: list[tuple[Instruction, str]] = []
        for one in self.instructions:
            if one.keyword == "ARG" and not found and stages == {"scratch"}:
                name, _, value = one.value.partition("=")
                defaults[name] = self._args.get(name, value.strip("\"'"))
            if one.keyword != "FROM":
                continue
            _, rest = _flags(one.value)
            image, _, stage = rest.partition(" ")
            image = _substituted(image, defaults)
            if image.lower() not in stages:
                found.append((one, image))
            stages.add(stage.strip().rpartition(" ")[2].lower())
        return found


def _flags(value: str) -> tuple[list[str], str]:
    """An instruction's `--flags`, and what follows them."""
    words = value.split()
    count = next((number for number, word in enumerate(words) if not word.startswith("--")), len(words))
    rest = value
    for word in words[:count]:
        rest = rest.lstrip().removeprefix(word)
    return words[:count], rest.strip()


def _arguments(text: str) -> list[str]:
    if text.startswith("["):
        try:
            return [str(one) for one in json.loads(text)]
        except json.JSONDecodeError:
            pass  # the shell form, of a name that begins so
    return text.split()


def _substituted(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        known = values.get(found[1] or found[4], "")
        if found[2] == "-":
            return known or found[3]
        return found[3] if found[2] == "+" and known else "" if found[2] == "+" else known

    return _VARIABLE.sub(value, text)
