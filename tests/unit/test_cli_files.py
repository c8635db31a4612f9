"""`temporal-runs files`, as one types it: a story, and what is said of bad input."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli_usage import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def said(machine: Machine, *arguments: str, **more: Any) -> str:
    done = machine.run("files", *arguments, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_day_with_the_files_of_a_project(machine: Machine, tmp_path: Path):
    (machine.folder / "data.txt").write_text("2\n")
    (machine.folder / "sub").mkdir()
    (machine.folder / "sub" / "a").write_text("a")
    pushed = json.loads(said(machine, "push", "-m", "more", "--json"))
    assert (pushed["changes"]["added"], pushed["changes"]["changed"]) == (2, 0), "the folder was not known yet"
    log = json.loads(said(machine, "log", "--json"))
    assert [row["run"] for row in log] == [None] * len(log)
    first = log[-1]["id"]
    assert said(machine, "cat", "data.txt") == "2\n"
    assert said(machine, "cat", "data.txt", "--revision", first[:8]) == "1\n"
    assert "sub/a" in said(machine, "ls")

    assert "1 changed" in said(machine, "restore", first, "data.txt")
    elsewhere = tmp_path / "elsewhere"
    assert "2 files written" in said(machine, "pull", str(elsewhere), "--project", "penguins")
    assert (elsewhere / "data.txt").read_text() == "1\n"
    assert said(machine, "pull", str(elsewhere), "--project", "penguins").endswith("0 files written, 0 deleted (0 B)\n")

    assert first[:12] in said(machine, "branch", "old", "--revision", first)
    assert set(json.loads(said(machine, "branch", "--json"))) == {"main", "old"}
    assert said(machine, "cat", "data.txt", "--revision", "old") == "1\n"

    assert "last_wins" in said(machine, "settings", "--on-conflict", "last_wins", "--max-total", "1KiB")
    settled = json.loads(said(machine, "settings", "--max-total", "0", "--json"))
    nothing = dict.fromkeys(("environment", "max_running", "max_files", "max_file_size", "max_total"))
    assert settled == {"on_conflict": "last_wins", "notify": [], **nothing}

    assert said(machine, "gc") == "0 objects (0 B) removed\n"
    assert json.loads(said(machine, "gc", "--dry-run", "--json")) == {"objects": 0, "bytes": 0}
    assert said(machine, "verify") == "the file store is whole\n"


def test_a_store_that_is_damaged_is_healed_from_the_folder(machine: Machine):
    (machine.folder / "big").write_bytes(b"b" * 100_000)
    said(machine, "push")
    [blob] = machine.store.objects.keys("b")
    machine.store.objects.put(blob, b"nonsense")
    done = machine.run("files", "verify")
    assert done.returncode == 2
    assert "penguins: big: object b/" in done.stdout
    assert "1 object damaged: try --repair" in done.stderr
    assert "healed: penguins: big" in said(machine, "verify", "--repair")
    assert said(machine, "verify") == "the file store is whole\n"


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["cat", "nowhere"], "nowhere is not in commit"),
        (["cat", "data.txt", "--revision", "nowhere"], "has no revision nowhere"),
        (["pull", "--results", "r1"], "no version of Run r1"),
        (["pull", "--results", "r1", "--revision", "main"], "exclude each other"),
        (["pull", "data.txt", "--project", "penguins"], "is not a folder"),
        (["restore", "nowhere"], "has no revision nowhere"),
        (["restore", "latest", "nowhere"], "nowhere is not in commit"),
        (["branch", "main"], "has a branch main already"),
        (["branch", "../main"], "cannot name a branch"),
        (["settings", "--max-files", "-1"], "--max-files: Input should be greater than or equal to 1"),
        (["settings", "--max-total", "much"], "'much' is not a size"),
        (["settings", "--on-conflict", "fight"], "'fight'"),
        (["log", "--project", "nobody"], "there is no project nobody"),
    ],
)
def test_what_makes_no_sense_is_refused(machine: Machine, arguments: list[str], saying: str):
    machine.refuses("files", *arguments, saying=saying)


def test_a_push_beyond_a_limit_says_what_to_do(machine: Machine):
    said(machine, "settings", "--max-file-size", "1")
    machine.refuses("files", "push", saying=".runignore")
