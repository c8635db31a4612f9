"""The command line as a person types it, on a system at work: what is printed where, and the exit codes."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import termios
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from temporal_runs.status import State
from tests.conftest import System, eventually
from tests.fleets import COMMAND


class Screen:
    """A command on a terminal of 40 columns."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> None:
        self._mine, its = pty.openpty()
        termios.tcsetwinsize(its, (24, 40))
        kept = {name: value for name, value in environment.items() if name not in ("CI", "COLUMNS")}
        kept |= {"TERM": "xterm", "NO_COLOR": "1"}
        self._written = b""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(command, cwd=folder, env=kept, stdin=its, stdout=its, stderr=its)
        finally:
            signal.signal(signal.SIGINT, before)
            os.close(its)

    def sees(self, text: str) -> None:
        """Returns once that is written."""
        while text not in self._written.decode(errors="replace"):
            self._written += os.read(self._mine, 2**16)

    def end(self) -> tuple[int, str]:
        """Its exit code, and all that it wrote."""
        with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal open any more
            while piece := os.read(self._mine, 2**16):
                self._written += piece
        os.close(self._mine)
        return self.process.wait(), self._written.decode()


class Terminal:
    """Where a person types, in the folder of a project of their own."""

    def __init__(self, system: System) -> None:
        self.project = system.project()
        self.folder = system.settings.home / "folders" / self.project
        self._image = system.image
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL")}
        self.environment: Mapping[str, str] = {
            **clean,
            "TEMPORAL_ADDRESS": system.client.service_client.config.target_host,
            "TEMPORAL_RUNS_HOME": str(system.settings.home),
            "TEMPORAL_RUNS_TIERS": str(system.settings.tiers),
        }

    async def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        return await asyncio.to_thread(
            subprocess.run,
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    async def types_on_a_screen(self, *arguments: str) -> tuple[int, str]:
        """One command on a terminal of its own; its exit code and all that it wrote there."""
        return await asyncio.to_thread(self.begins_on_a_screen(*arguments).end)

    def begins_on_a_screen(self, *arguments: str) -> "Screen":
        """One command that goes on, on a terminal of its own."""
        return Screen([COMMAND, *arguments], self.folder, self.environment)

    async def runs(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """`run`, of a line for the shell in the small image."""
        return await self.types("run", "--tier", "tiny", "--image", self._image, *options, "--", "sh", "-c", command)

    def begins(self, *arguments: str) -> subprocess.Popen[bytes]:
        """One command that goes on."""
        pipe = subprocess.PIPE
        # A test run in the background has SIGINT ignored, and its children would inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                [COMMAND, *arguments], cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe
            )
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.fixture
def terminal(system: System) -> Terminal:
    return Terminal(system)


def new_id() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


async def test_run_shows_states_beside_the_console_and_downloads_nothing(terminal: Terminal):
    (terminal.folder / "more.txt").write_text("pushed\n")
    done = await terminal.runs("cat more.txt; echo result > out.txt")
    assert (done.returncode, done.stdout) == (0, "pushed\n")
    for word in ("1 added", "Queued", "Running", "Succeeded", "Results: 1 added"):
        assert word in done.stderr
    assert not (terminal.folder / "out.txt").exists()
    assert (await terminal.types("files", "pull")).returncode == 0
    assert (terminal.folder / "out.txt").read_text() == "result\n"


async def test_a_terminal_has_one_live_view_that_leaves_the_states_behind(terminal: Terminal, system: System):
    run_id = new_id()
    options = ["--tier", "tiny", "--image", system.image, "--id", run_id]
    code, screen = await terminal.types_on_a_screen("run", *options, "--", "sh", "-c", "echo one; printf two; exit 3")
    assert code == 1
    assert "one\r\n" in screen
    assert "two\r\n" in screen
    left = screen[screen.rindex("two\r\n") :]
    assert "Queued" in left
    assert "Failed after" in left.replace("\r\n", "")
    assert "What to do" in left
    assert "\x1b[3" not in screen, "no colour"
    code, screen = await terminal.types_on_a_screen("watch", run_id)
    assert code == 1
    assert "two\r\n" in screen
    assert "Failed after" in screen.replace("\r\n", "")


async def test_ctrl_c_on_a_terminal_leaves_the_states_so_far(terminal: Terminal, system: System):
    handle = await system.begun("true")
    follower = terminal.begins_on_a_screen("watch", handle.id)
    await asyncio.to_thread(follower.sees, "begun\r\n")
    follower.process.send_signal(signal.SIGINT)
    code, screen = await asyncio.to_thread(follower.end)
    assert code == 130
    assert "begun\r\n" in screen
    assert f"temporal-runs watch {handle.id}" in screen.replace("\r\n", " ")
    assert "Traceback" not in screen
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l"), "the cursor is there again"
    await handle.stop()


async def test_the_metrics_of_runs_are_columns_of_their_list(terminal: Terminal):
    run_id = new_id()
    assert (await terminal.runs("""echo '{"loss": 0.25}' > dominostats.json""", "--id", run_id)).returncode == 0

    async def listed() -> str | None:
        shown = (await terminal.types("list", "--metrics", "--project", terminal.project)).stdout
        return shown if "0.25" in shown else None

    assert (await eventually(listed)).splitlines()[0].endswith("loss")
    data = json.loads((await terminal.types("list", "--metrics", "--json", "--project", terminal.project)).stdout)
    assert [run["metrics"] for run in data] == [{"loss": 0.25}]


async def test_run_says_whom_to_tell(terminal: Terminal):
    run_id = new_id()
    to = ["--notify", "ada@example.org=Failed,Error", "--notify", "http://127.0.0.1:9/ended=Error"]
    assert (await terminal.runs("true", "--id", run_id, *to)).returncode == 0
    facts = json.loads((await terminal.types("status", run_id, "--json")).stdout)
    assert [one.get("email") or one.get("url") for one in facts["spec"]["notify"]] == [
        "ada@example.org",
        "http://127.0.0.1:9/ended",
    ]
    wrong = await terminal.runs("true", "--notify", "nobody")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "neither a URL nor an e-mail address" in wrong.stderr


async def test_run_with_pull_brings_the_results(terminal: Terminal):
    done = await terminal.runs("echo result > out.txt", "--pull")
    assert done.returncode == 0
    assert (terminal.folder / "out.txt").read_text() == "result\n"


async def test_the_results_of_one_run_are_brought_to_a_folder_that_is_behind(terminal: Terminal):
    run_id = new_id()
    assert (await terminal.runs("echo result > out.txt; rm data.txt", "--id", run_id)).returncode == 0
    (terminal.folder / "later.txt").write_text("not the Run's")
    assert (await terminal.types("files", "push")).returncode == 0
    other = terminal.folder.parent / f"{terminal.project}-results"
    pull = ("files", "pull", "--project", terminal.project, "--results", run_id, str(other))
    assert f"results of Run {run_id}, 1 file written, 0 deleted" in (await terminal.types(*pull)).stdout
    assert {path.name: path.read_text() for path in other.iterdir()} == {"out.txt": "result\n"}


async def test_a_failed_run_has_its_exit_code_and_advice(terminal: Terminal):
    run_id = new_id()
    done = await terminal.runs("echo printed; exit 3", "--json", "--id", run_id)
    assert done.returncode == 1
    assert json.loads(done.stdout)["exit_code"] == 3, "stdout is the result alone"
    assert "printed" in done.stderr
    assert "What to do:" in done.stderr
    assert (await terminal.types("watch", run_id)).returncode == 1
    told = await terminal.types("watch", run_id, "--json")
    assert [json.loads(line)["state"] for line in told.stdout.splitlines()][-2:] == ["Finishing", "Failed"]
    assert (await terminal.types("logs", run_id)).stdout == "printed\n"
    assert json.loads((await terminal.types("logs", run_id, "--json")).stdout)["bytes"] == len("printed\n")


async def test_a_detached_run_is_looked_at_and_stopped(terminal: Terminal, system: System):
    started = await terminal.runs("echo begun; while true; do sleep 0.05; done", "--detach")
    run_id = started.stdout.strip()
    assert (started.returncode, started.stdout) == (0, f"{run_id}\n")
    follower = terminal.begins("logs", "-f", run_id)
    assert follower.stdout
    assert await asyncio.to_thread(follower.stdout.readline) == b"begun\n"

    shown = await terminal.types("status", run_id)
    assert "Running" in shown.stdout
    assert json.loads((await terminal.types("status", run_id, "--json")).stdout)["state"] == "Running"
    stopped = await terminal.types("stop", run_id, "--discard", "--reason", "enough", "--json")
    assert json.loads(stopped.stdout) == {"run_id": run_id, "accepted": True}
    watched = await terminal.types("watch", run_id)
    assert watched.returncode == 4
    assert "Stopped: enough" in watched.stdout
    rest, complaints = await asyncio.to_thread(follower.communicate)
    assert (follower.returncode, rest, complaints) == (0, b"", b"")
    again = await terminal.types("stop", run_id)
    assert (again.returncode, again.stdout) == (0, f"{run_id}: had already ended; nothing to stop\n")

    async def listed() -> bool:
        found = json.loads((await terminal.types("list", "--project", terminal.project, "--json")).stdout)
        return [(run["run_id"], run["state"]) for run in found] == [(run_id, "Stopped")]

    # Temporal's visibility follows its Runs by a moment.
    await eventually(listed)


async def test_a_run_in_a_named_environment_says_in_which_revision(terminal: Terminal, system: System):
    run_id, name = new_id(), f"e-{uuid.uuid4().hex[:8]}"
    assert (await terminal.types("environment", "create", name, "--image", system.image)).stdout == f"{name}#1\n"
    assert (await terminal.types("environment", "revise", name, "--image", "no-such-image")).returncode == 0
    options = ["--environment", f"{name}#1", "--tier", "tiny", "--id", run_id]
    done = await terminal.types("run", *options, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"Environment  {name}#1" in (await terminal.types("status", run_id)).stdout


async def test_ctrl_c_leaves_the_run_and_says_how_to_come_back(terminal: Terminal, system: System):
    run_id = new_id()
    options = ["--id", run_id, "--tier", "tiny", "--image", system.image]
    wait = "echo begun; while true; do sleep 0.05; done"
    follower = terminal.begins("run", *options, "--", "sh", "-c", wait)
    assert follower.stdout
    assert await asyncio.to_thread(follower.stdout.readline) == b"begun\n"
    follower.send_signal(signal.SIGINT)
    rest, said = await asyncio.to_thread(follower.communicate)
    assert (follower.returncode, rest) == (130, b"")
    assert f"temporal-runs watch {run_id}" in said.decode()
    assert "Traceback" not in said.decode()
    handle = system.runs.get(run_id)
    assert (await handle.status()).state is State.RUNNING
    await handle.stop()


async def test_a_run_that_waits_says_for_what_and_its_place(terminal: Terminal, system: System):
    first, second = [await system.start("true", tier="huge") for _ in range(2)]
    watcher = terminal.begins("watch", second.id)
    assert watcher.stdout
    said = ""
    while "no executor serves tier huge: place 2" not in said:
        line = await asyncio.to_thread(watcher.stdout.readline)
        assert line, f"it ended after: {said}"
        said += line.decode()
    shown = await terminal.types("status", second.id)
    assert "no executor serves tier huge: place 2" in shown.stdout
    for handle in (first, second):
        await handle.stop()
    await asyncio.to_thread(watcher.communicate)
    assert watcher.returncode == 4


async def test_what_only_the_dispatcher_can_know_ends_the_run_as_an_invalid_spec(terminal: Terminal):
    terminal.environment = {
        name: value for name, value in terminal.environment.items() if name != "TEMPORAL_RUNS_TIERS"
    }
    done = await terminal.types("run", "--tier", "elsewhere", "--", "true")
    assert done.returncode == 1
    assert "there is no tier 'elsewhere'" in done.stderr
    assert "invalid_spec" in done.stderr


async def test_setup_where_all_is_set_up(terminal: Terminal):
    done = await terminal.types("setup", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"namespace": "default", "registered": []})


async def test_files_are_pushed_listed_and_compared(terminal: Terminal):
    assert (await terminal.types("files", "pull")).returncode == 0, "from now on the folder is one of the project's"
    (terminal.folder / "[b]new.txt").write_text("1\n")
    pushed = json.loads((await terminal.types("files", "push", "-m", "second", "--json")).stdout)
    assert pushed["changes"]["added"] == 1
    log = json.loads((await terminal.types("files", "log", "--json")).stdout)
    assert [commit["message"] for commit in log] == ["second", "first"]
    listed = await terminal.types("files", "ls")
    assert "[b]new.txt" in listed.stdout
    changed = await terminal.types("files", "diff", "--from", log[1]["id"])
    assert changed.stdout == "A  [b]new.txt  (2 B)\n"
    other = terminal.folder.parent / f"{terminal.project}-other"
    pulled = await terminal.types("files", "pull", "--project", terminal.project, str(other))
    assert pulled.returncode == 0
    assert sorted(os.listdir(other)) == ["[b]new.txt", "data.txt"]  # noqa: PTH208
