"""A command with scripts around it, as each common shell runs it; seen from outside it is the command."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence

import pytest

from temporal_runs.activities.scripts import around
from temporal_runs.environment import Environment

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=SHELLS)
def begin(request: pytest.FixtureRequest) -> Begin:
    """Starts a command with scripts around it, with one of the shells as /bin/sh."""
    shell = SHELLS[request.param]
    if shutil.which(shell[0]) is None:
        pytest.skip(f"this machine has no {shell[0]}")

    def begun(command: Sequence[str] | str, **scripts: str) -> "subprocess.Popen[str]":
        argv = ["sh", "-c", command] if isinstance(command, str) else command
        program = around(argv, Environment(image="a", **scripts))
        assert program[0] == "/bin/sh"
        pipe = subprocess.PIPE
        return subprocess.Popen([*shell, *program[1:]], stdout=pipe, stderr=pipe, text=True)

    return begun


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_nothing_is_put_around_a_command_without_scripts():
    assert around(["a", "b"], Environment(image="a")) == ["a", "b"]


def test_scripts_run_before_and_after(begin: Begin):
    done = ended(begin("echo command", pre_run="echo before", post_run="echo after"))
    assert done == (0, "before\ncommand\nafter\n", "")


def test_words_reach_the_command_as_they_are(begin: Begin):
    words = ["printf", "%s|", "a b", "$HOME", "'", "*", "\n", ""]
    assert ended(begin(words, pre_run="true", post_run="true"))[1] == "a b|$HOME|'|*|\n||"


def test_a_pre_run_that_fails_ends_it(begin: Begin):
    status, out, err = ended(begin("echo command", pre_run="exit 4", post_run="echo after"))
    assert (status, out, err) == (4, "", "pre_run ended with status 4: the command was not run\n")


@pytest.mark.parametrize(
    ("command", "post_run", "status"),
    [("exit 3", "exit 5", 3), ("exit 3", "true", 3), ("true", "exit 5", 5), ("kill -SEGV $$", "exit 5", 139)],
)
def test_the_commands_status_wins(begin: Begin, command: str, post_run: str, status: int):
    said = "post_run ended with status 5\n" if command == "true" else ""
    assert ended(begin(command, post_run=f"echo after; {post_run}")) == (status, "after\n", said)


def test_a_fault_signal_after_a_pre_run_alone_is_the_commands_own(begin: Begin):
    # The command has taken the shell's place. In a container init makes 139 of it.
    assert ended(begin("kill -SEGV $$", pre_run="true"))[0] == -signal.SIGSEGV


@pytest.mark.parametrize("scripts", [{"pre_run": "true"}, {"post_run": "true"}])
@pytest.mark.parametrize("missing", ["no-such-program", "status_of", "tell"])
def test_only_programs_are_commands(begin: Begin, missing: str, scripts: dict[str, str]):
    status, _, err = ended(begin([missing], **scripts))
    assert status == 127
    assert "not found" in err


def test_a_script_runs_with_the_shell_that_it_names(begin: Begin):
    scripts = {
        "pre_run": "#!/bin/bash -e\na=(1 2); echo ${#a[@]}",
        "post_run": "#!/bin/bash\necho ${BASH_VERSION:+bash}",
    }
    assert ended(begin("true", **scripts))[1] == "2\nbash\n"


LASTS = "echo begun; while :; do sleep 0.02; done"


def stopped(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Tells it to stop once what it runs has begun."""
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    return ended(process)


def test_a_stop_reaches_the_command_and_the_post_run_still_runs(begin: Begin):
    # The command takes its time: a second signal, or a wait given up too early, would show.
    command = f"trap 'sleep 0.3; echo told; exit 7' TERM; {LASTS}"
    assert stopped(begin(command, pre_run="true", post_run="echo after")) == (7, "told\nafter\n", "")


def test_a_stop_that_the_command_dies_of(begin: Begin):
    assert stopped(begin(LASTS, post_run="echo after")) == (143, "after\n", "")


def test_a_stop_reaches_a_command_with_a_pre_run_alone(begin: Begin):
    assert stopped(begin(f"trap 'echo told; exit 7' TERM; {LASTS}", pre_run="true"))[:2] == (7, "told\n")


@pytest.mark.parametrize("end", ["exit 0", "exit 6"])
def test_a_stop_during_the_pre_run_keeps_the_command_from_running(begin: Begin, end: str):
    status, out, _ = stopped(begin("echo command", pre_run=f"trap '{end}' TERM; {LASTS}", post_run="echo after"))
    assert (status, out) == (143 if end == "exit 0" else 6, "")


def test_a_stop_during_the_post_run_lets_it_end(begin: Begin):
    assert stopped(begin("true", post_run="echo begun; sleep 0.3; echo done")) == (0, "done\n", "")


def test_a_script_may_be_long(begin: Begin):
    long = "true # " + "x" * 65_000
    assert ended(begin("true", pre_run=long, post_run=long)) == (0, "", "")
