"""What `docs/guarantees.md` promises is tested by the tests that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| what |", "| while |", "| who leaves"))
]
TESTS = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("row", ROWS)
def test_each_promise_names_tests_that_exist(row: str):
    named = set(re.findall(r"`(test_\w+)`", row.split(" | ")[-1]))
    assert named, "this row names no test"
    assert not named - TESTS
