"""docs/cli.md names every command and option there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from temporal_runs.cli.app import command

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(of: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for part, one in getattr(of, "commands", {}).items():
        yield from commands(one, f"{name} {part}".strip())
    if name and not hasattr(of, "commands"):
        yield name, of


@pytest.mark.parametrize(("name", "one"), list(commands(command())))
def test_the_page_names_it_with_all_its_options(name: str, one: Any):
    assert re.search(rf"`{name}[ `]", PAGE)
    for parameter in one.params:
        for option in parameter.opts:
            if option.startswith("-"):
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", PAGE), option
