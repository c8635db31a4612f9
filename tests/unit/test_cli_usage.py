"""Bad input on the command line: exit code 2, one line on stderr that says what is wrong, no traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from temporal_runs.store import Store

SPEC = {"project": "penguins", "command": ["true"]}

AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Root without the right to read what may not be read: Debian's util-linux has it."""


class Machine:
    """A machine with a HOME and a store of its own, where nothing runs."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder / "penguins"
        self.folder.mkdir()
        (self.folder / "data.txt").write_text("1\n")
        self.store = Store.open(str(self.home / "store"))
        self.store.push("penguins", self.folder, base=None, author="tester", message="first")

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        under: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        command = [*under, sys.executable, "-c", "from temporal_runs.cli import main; main()", *arguments]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL")}
        clean |= {
            "TEMPORAL_RUNS_HOME": str(self.home),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HOME": str(self.home),
            "COLUMNS": "200",
            **(env or {}),
        }
        return subprocess.run(
            command, input=stdin, env=clean, cwd=cwd or self.folder, capture_output=True, text=True, timeout=60
        )

    def refuses(self, *arguments: str, saying: str, **more: object) -> None:
        done = self.run(*arguments, **more)  # type: ignore[arg-type]
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        assert saying in done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_help_needs_nothing(machine: Machine):
    done = machine.run("--help")
    assert done.returncode == 0
    for command in [
        "run",
        "start",
        "status",
        "watch",
        "logs",
        "stop",
        "list",
        "up",
        "tiers",
        "executors",
        "backlog",
        "setup",
        "dispatcher",
        "executor",
        "files",
        "environment",
    ]:
        assert command in done.stdout


def test_help_imports_nothing_heavy(machine: Machine):
    seen = (
        "import sys; from temporal_runs.cli import invoke; code = invoke(['run', '--help']); "
        "heavy = {'temporalio', 'docker', 'obstore', 'temporal_runs.spec'} & set(sys.modules); "
        "sys.exit(code or (9 if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", seen], cwd=Path(__file__).parents[2], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["fly"], "No such command"),
        (["status"], "Missing argument 'ID'"),
        (["status", "r1", "--loud"], "No such option"),
        (["list", "--limit", "many"], "--limit"),
        (["list", "--state", "Sleeping"], "unknown state 'Sleeping'"),
        (["list", "--project", "no/slash"], "project's name"),
        (["executor", "--serve", "small"], "TIER=NUMBER"),
        (["executor", "--serve", "small=0"], "TIER=NUMBER"),
        (["executor", "--serve", "colossal=1"], "there are small, medium, large"),
        (["executor", "--id", "no spaces"], "executor's id"),
        (["executor", "--serve", "small=1", "--cores", "2"], "exclude each other"),
        (["executor", "--cores", "0"], "--cores 0"),
        (["executor", "--memory", "much"], "--memory"),
        (["executor", "drain", "nobody"], "temporal-runs executors"),
        (["run", "--tier", "colossal", "--", "true"], "unknown tier 'colossal'"),
        (["run", "--image", "Not An Image", "--", "true"], "environment.image"),
        (["run", "--project", "no/slash", "--", "true"], "project's name"),
        (["run", "--env", "A", "--", "true"], "NAME=value"),
        (["run", "--env", "RUN_ID=1", "--", "true"], "RUN_ID may not be set"),
        (["run", "--time-limit", "-1", "--", "true"], "time_limit"),
        (["run", "--environment", "missing.json", "--", "true"], "no environment missing.json; there are none"),
        (["run", "--environment", "missing.json", "--", "true"], "Nor is there a file of that name"),
        (["run", "--environment", "sub/missing.json", "--", "true"], "missing.json cannot be read"),
        (["run", "--environment", "ml#0", "--", "true"], "cannot be read"),
        (["run", "--image", "a", "--environment", "b", "--", "true"], "exclude each other"),
        (["run", "--detach", "--pull", "--", "true"], "--pull"),
        (["run", "--id", "no/slash", "--", "true"], "no/slash"),
        (["run", "--project", "penguins\n", "--", "true"], "project's name"),
        (["run", "--environment", ".", "--", "true"], "cannot be read: Is a directory"),
        (["run", "--environment", "data.txt", "--", "true"], "environment"),
        (["start", "-", "--colour"], "temporal-runs start --help"),
        (["start", "."], "cannot be read: Is a directory"),
        (["files"], "temporal-runs files --help"),
        (["files", "push", "--project", "penguins\n"], "project's name"),
        (["files", "pull", "data.txt"], "data.txt"),
        (["run"], "Missing argument"),
        (["start", "missing.json"], "missing.json"),
        (["files", "log", "--project", "nobody"], "nobody"),
        (["files", "ls", "--revision", "ffffffff"], "ffffffff"),
        (["files", "push", "/no/such/folder"], "/no/such/folder"),
        (["files", "push", "data.txt"], "not a folder"),
        (["files", "pull", "--revision", "ffffffff"], "ffffffff"),
        (["files", "diff"], "first version"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(machine: Machine, arguments: list[str], saying: str):
    machine.refuses(*arguments, saying=saying)


@pytest.mark.parametrize(
    ("spec", "saying"),
    [
        ("{", "not JSON"),
        ("[]", "a list"),
        ("{}", "project"),
        (json.dumps({**SPEC, "colour": "blue"}), "colour: unknown key"),
        (json.dumps({**SPEC, "priority": "high"}), "priority"),
        (json.dumps({**SPEC, "tier": "colossal"}), "unknown tier"),
        (json.dumps({**SPEC, "project": "nobody"}), "nobody"),
        (json.dumps({**SPEC, "revision": "ffffffff"}), "ffffffff"),
        (json.dumps({**SPEC, "environment": {"image": "a", "base": "b"}}), "environment"),
    ],
)
def test_a_bad_spec_starts_nothing(machine: Machine, spec: str, saying: str):
    machine.refuses("start", "-", stdin=spec, saying=saying)


@pytest.mark.parametrize(
    ("name", "text", "saying"),
    [
        ("e.json", "{", "is not JSON"),
        ("e.toml", "image = ", "is not TOML"),
        ("e.json", '{"colour": "blue"}', "environment.colour: unknown key"),
        ("e.json", '{"image": 3}', "environment.image"),
        ("e.toml", 'image = "Not An Image"', "environment.image"),
        ("e.json", '{"base": "a", "instructions": "RUN true"}', "environment.instructions"),
        ("e.json", '{"base": "a", "instructions": ["FROM b"]}', "FROM"),
        ("e.json", "{}", "image"),
        ("e.json", '["a"]', "environment"),
        ("e.json", "\udcff", "not UTF-8"),
    ],
)
def test_a_bad_environment_file_starts_nothing(machine: Machine, name: str, text: str, saying: str):
    (machine.folder / name).write_text(text, errors="surrogateescape")
    machine.refuses("run", "--environment", name, "--", "true", saying=saying)
    assert len(machine.store.log("penguins")) == 1, "nothing may be pushed for a Run that cannot start"


@pytest.mark.parametrize(
    ("arguments", "locked"),
    [
        (["run", "--", "true"], "."),
        (["files", "push"], "."),
        (["files", "push"], "data.txt"),
        (["files", "push", "sub"], "sub"),
        (["files", "push"], "sub"),
        (["files", "pull", "sub"], "sub"),
        (["run", "--environment", "e.json", "--", "true"], "e.json"),
        (["start", "e.json"], "e.json"),
    ],
)
def test_what_may_not_be_read_is_named(machine: Machine, arguments: list[str], locked: str):
    (machine.folder / "sub").mkdir()
    (machine.folder / "e.json").write_text("{}")
    place = machine.folder / locked
    rights = place.stat().st_mode
    # Enough to be in the folder, not to read it.
    place.chmod(0o111 if locked == "." else 0)
    try:
        machine.refuses(*arguments, saying=place.name, under=AS_ANYBODY)
    finally:
        place.chmod(rights)
    assert len(machine.store.log("penguins")) == 1, "nothing may be pushed of what cannot be read whole"


def test_a_home_that_may_not_be_written_is_named(machine: Machine):
    (locked := machine.folder / "locked").mkdir(mode=0o555)
    machine.refuses("up", saying=str(locked), env={"TEMPORAL_RUNS_HOME": str(locked / "home")}, under=AS_ANYBODY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["start", "-"],
        ["status", "r1"],
        ["watch", "r1"],
        ["logs", "r1"],
        ["stop", "r1"],
        ["list"],
        ["setup"],
        ["backlog"],
        ["run", "--", "true"],
    ],
)
def test_without_a_server_every_command_says_how_to_get_one(machine: Machine, arguments: list[str]):
    machine.refuses(*arguments, stdin=json.dumps(SPEC), saying="temporal-runs up")
    assert len(machine.store.log("penguins")) == 1, "nothing may be pushed for a Run that cannot start"


def test_a_server_that_does_not_answer_is_given_up(machine: Machine):
    machine.refuses("list", saying="127.0.0.1:1", env={"TEMPORAL_ADDRESS": "127.0.0.1:1"})


def test_settings_that_cannot_be_used_are_named(machine: Machine):
    machine.refuses("list", saying="TEMPORAL_RUNS_LEASE", env={"TEMPORAL_RUNS_LEASE": "soon"})
    machine.refuses("list", saying="nope", env={"TEMPORAL_PROFILE": "nope"})


@pytest.mark.parametrize("command", ["up", "executor"])
def test_without_docker_nothing_is_started(machine: Machine, command: str):
    machine.refuses(command, saying="Docker", env={"DOCKER_HOST": "unix:///nowhere.sock"})


def test_a_folder_nobody_means_to_push_is_refused(machine: Machine):
    machine.refuses("run", "--", "true", saying="--project", cwd=machine.home)
    machine.refuses("files", "push", "/", saying="--project")


def test_a_part_of_what_the_command_printed_is_not_one_of_its_build(machine: Machine):
    done = machine.run("logs", "r1", "--phase", "build", "--tail", "3")
    assert done.returncode == 2
    assert "--phase build: --stdout, --stderr, --since and --tail are for what the command printed" in done.stderr
