"""`temporal-runs environment`, as one types it: a story, and what is said of bad input."""

import json
from pathlib import Path

import pytest

from tests.unit.test_cli_usage import Machine

ML = """
base = "debian:12"
instructions = ["RUN true"]
requirements = true
pre_run = '''
#!/bin/bash
echo "before"
'''
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def said(machine: Machine, *arguments: str) -> str:
    done = machine.run("environment", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_life_of_an_environment(machine: Machine):
    (machine.folder / "ml.toml").write_text(ML)
    assert said(machine, "create", "ml", "ml.toml", "--summary", "a beginning") == "ml#1\n"
    assert said(machine, "create", "plain", "--image", "python:3.12") == "plain#1\n"
    made = said(
        machine, "revise", "ml", "--base", "debian:13", "--instruction", "RUN a", "--instruction", "RUN b", "--json"
    )
    assert json.loads(made)["environment"] == {"base": "debian:13", "instructions": ["RUN a", "RUN b"]}
    assert [(one["name"], one["number"]) for one in json.loads(said(machine, "list", "--json"))] == [
        ("ml", 2),
        ("plain", 1),
    ]
    assert "ml#2" in said(machine, "list")

    first = said(machine, "show", "ml", "--revision", "1")
    assert json.loads(first)["requirements"] == "requirements.txt"
    assert json.loads(said(machine, "show", "ml", "--json"))["number"] == 2
    assert "a beginning" in machine.run("environment", "show", "ml").stderr
    (machine.folder / "again.json").write_text(first)
    assert said(machine, "revise", "ml", "again.json") == "ml#3\n"
    assert said(machine, "show", "ml") == first

    assert said(machine, "use", "ml", "--revision", "2") == "penguins: Runs use ml#2 where their spec names nothing\n"
    assert "ml#2" in machine.run("files", "settings").stdout
    used = json.loads(said(machine, "use", "ml", "--project", "penguins", "--json"))
    assert used == {"project": "penguins", "environment": {"name": "ml", "revision": "latest"}}
    assert json.loads(machine.run("files", "settings", "--json").stdout)["environment"] == used["environment"]
    assert "the default image" in said(machine, "use", "--none")
    assert json.loads(machine.run("files", "settings", "--json").stdout)["environment"] is None


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["create", "ml"], "--image or --base: one of them"),
        (["create", "ml", "data.txt", "--image", "a"], "one of them"),
        (["create", "ml", "missing.json"], "missing.json cannot be read"),
        (["create", "ml", "data.txt"], "an environment is one JSON object, not a number"),
        (["create", "ml", "--image", "Not An Image"], "image: "),
        (["create", "ml", "--image", "a", "--base", "b"], "needs either"),
        (["create", "no/slash", "--image", "a"], "name: "),
        (["revise", "ml", "--image", "a"], "there is no environment ml; there are none"),
        (["show", "ml"], "there is no environment ml"),
        (["show", "ml", "--revision", "0"], "--revision"),
        (["use", "ml"], "there is no environment ml"),
        (["use"], "--none"),
        (["use", "ml", "--none"], "--none"),
    ],
)
def test_what_makes_no_sense_is_refused(machine: Machine, arguments: list[str], saying: str):
    machine.refuses("environment", *arguments, saying=saying)


def test_a_name_that_is_taken_is_said(machine: Machine):
    said(machine, "create", "ml", "--image", "a")
    machine.refuses("environment", "create", "ml", "--image", "b", saying="revise it, or choose another name")
    machine.refuses("run", "--environment", "ml#2", "--", "true", saying="environment ml has no revision 2")
