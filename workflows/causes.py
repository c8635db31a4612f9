"""Failed or Error: the one table of causes (design, section 4), and the one place that judges how a command ended.

Nothing else decides whose fault an ending is. What cannot be told is `internal`, never the user's.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from temporal_runs.status import Cause, State
from temporal_runs.steps import Exit


@dataclass(frozen=True)
class Row:
    """One row of the table: whose it is, where it comes from, what to do next."""

    blame: Literal["user", "platform"]
    origin: str
    advice: str


CAUSES: Final[dict[str, Row]] = {
    "exit_code": Row("user", "the command ended with a non-zero status", "Read the end of the console."),
    "signal": Row(
        "user",
        "the command died of a fault signal (SEGV, ABRT, BUS, FPE, ILL)",
        "Read the end of the console; a native library of the command has most likely crashed.",
    ),
    "out_of_memory": Row(
        "user",
        "the kernel killed it inside its own tier's limit",
        "Use a tier with more memory, or have the command hold less at a time.",
    ),
    "time_limit": Row("user", "it ran past its time_limit", "Raise time_limit, or give the command less to do."),
    "command_not_found": Row(
        "user",
        "the image has no such program, or it is not executable",
        "Check the command's spelling and that the environment installs it.",
    ),
    "disk_limit": Row("user", "it filled its own workspace limit", "Write less into the working directory."),
    "build_failed": Row(
        "user",
        "an instruction of its environment failed",
        "Mend the instruction that is named, then start it again.",
    ),
    "image_not_found": Row(
        "user",
        "the registry answered: no such image or tag",
        "Check the image's name and tag in the environment.",
    ),
    "invalid_spec": Row(
        "user",
        "unknown project, revision or tier, or a bad spec",
        "Mend the field that is named, then start it again.",
    ),
    "queue_limit": Row(
        "platform",
        "no machine came free within queue_limit",
        "Start it again with a longer queue_limit, or add an executor that serves its tier.",
    ),
    "executor_lost": Row(
        "platform",
        "the machine or its worker went away and did not come back in time",
        "Look at the machine that is named; its results are saved to a recovered/ branch when it comes back.",
    ),
    "docker_unavailable": Row(
        "platform",
        "the engine does not answer, or lost the container",
        "Look at the Docker engine of the machine that is named (docker info), then start the Run again.",
    ),
    "container_killed": Row(
        "platform",
        "somebody else killed or removed the container, or the sender of a KILL or TERM cannot be told",
        "Ask who kills containers on the machine that is named, then start the Run again.",
    ),
    "terminated": Row(
        "platform",
        "the workflow was terminated",
        "Use `temporal-runs stop` to end a Run and keep its results.",
    ),
    "registry_unavailable": Row(
        "platform",
        "the registry could not be reached, or refused our credentials",
        "Check the registry from the machine that is named, then start the Run again.",
    ),
    "store_unavailable": Row(
        "platform", "files could not be read or written", "Check the file store, then start the Run again."
    ),
    "store_corrupt": Row(
        "platform",
        "files do not match their hash",
        "Heal it with `temporal-runs files verify --repair`, where the files were pushed from, or on executors; "
        "else restore the store from a backup.",
    ),
    "host_disk_full": Row(
        "platform",
        "the machine's disk is full, not the Run's own limit",
        "Free disk space on the machine that is named.",
    ),
    "host_out_of_memory": Row(
        "platform",
        "the machine ran out of memory, not the Run",
        "Serve fewer Runs on the machine that is named, then start the Run again.",
    ),
    "internal": Row(
        "platform",
        "a bug of ours",
        "Report it with the Run's id and this evidence; starting it again may help.",
    ),
}

FAULT_SIGNALS: Final = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}
_SIGKILL, _SIGTERM = 9, 15
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


def cause(code: str, stage: State, message: str, evidence: dict[str, Any] | None = None) -> Cause:
    """The Cause of a row of the table; a code that is not in it is `internal`."""
    if code not in CAUSES:
        evidence = {"code": code, **(evidence or {})}
        code = "internal"
    row = CAUSES[code]
    return Cause(code=code, stage=stage, blame=row.blame, message=message, advice=row.advice, evidence=evidence or {})


def judge(exit: Exit, time_limit: float | None) -> Cause | None:
    """Why a command that ended is not a success; None when it is one, or when a stop ended it."""
    if exit.ended_by == "stop":
        return None
    if exit.ended_by == "time_limit":
        return _caused(exit, "time_limit", f"it ran past its time_limit of {time_limit:g} seconds")
    if exit.engine_lost:
        return _caused(exit, "docker_unavailable", "the Docker engine went away while the command ran, and ended it")
    if exit.exit_code is None:
        return _caused(exit, "container_killed", "its container is gone; somebody removed it while the command ran")
    if exit.exit_code == 0:
        return None
    if exit.out_of_memory:
        return _caused(exit, "out_of_memory", "it used more memory than its tier has, and the kernel killed it")
    if exit.disk_full == "limit":
        return _caused(exit, "disk_limit", "it filled the disk that its tier gives a working directory")
    if exit.disk_full == "machine":
        return _caused(exit, "host_disk_full", "the disk of its machine was full")
    signal = exit.exit_code - 128
    if signal in (_SIGKILL, _SIGTERM):
        sender = "through the Docker engine" if exit.killed_by_engine else "by an unknown sender"
        return _caused(exit, "container_killed", f"it was killed with signal {signal} {sender}")
    if signal in FAULT_SIGNALS:
        return _caused(exit, "signal", f"it died of {FAULT_SIGNALS[signal]}")
    if exit.exit_code in (_NOT_FOUND, _NOT_EXECUTABLE) and _names_a_missing_program(exit):
        return _caused(exit, "command_not_found", "there is no such program in the image, or it is not executable")
    return _caused(exit, "exit_code", f"it ended with status {exit.exit_code}")


def _names_a_missing_program(exit: Exit) -> bool:
    """True when init or the shell said so: a command may end with 126 or 127 of its own."""
    last = exit.last_lines.lower()
    return any(phrase in last for phrase in ("not found", "no such file", "permission denied", "exec format"))


def _caused(exit: Exit, code: str, message: str) -> Cause:
    return cause(code, State.RUNNING, message, exit.model_dump(mode="json", exclude_none=True))
