"""docs/cli.md names every command with all its options, and shows how each is used."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from temporal_runs.cli.app import command

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = {section.split()[0].strip("`"): section for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}
EVERYWHERE = {"--help"}
OF_ALL_FILES = {"--project", "--json"}


def commands(of: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for part, one in getattr(of, "commands", {}).items():
        yield from commands(one, f"{name} {part}".strip())
    if name and (not hasattr(of, "commands") or of.invoke_without_command):
        yield name, of


@pytest.mark.parametrize(("name", "one"), list(commands(command())))
def test_the_page_shows_it_with_all_its_options(name: str, one: Any):
    group, _, part = name.rpartition(" ")
    section = SECTIONS[group or name]
    text = next(line for line in section.splitlines() if line.startswith(f"| `{name}")) if part and group else section
    general = EVERYWHERE | (OF_ALL_FILES if group else set())
    options = {option for parameter in one.params for option in parameter.opts if option.startswith("-")}
    assert {option for option in options - general if not named(option, text)} == set()
    assert {option for option in general & options if not named(option, section)} == set()
    assert re.search(rf"^    .*temporal-runs {name}\b", section, re.MULTILINE), "an example"


def test_the_page_names_no_option_that_is_not_there():
    there = {option for _, one in commands(command()) for parameter in one.params for option in parameter.opts}
    there |= {"--install-completion", "--show-completion", "--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - there == {"--epochs"}, "--epochs is the example's own"


def named(option: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){option}(?![\w-])", text) is not None
