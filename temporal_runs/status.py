"""What can be said of a Run: its state, its cause, and the facts that the `status` query and the result hold."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class State(StrEnum):
    """The thirteen states of a Run (design, section 2)."""

    QUEUED = "Queued"
    """waits for a machine of its tier with room"""
    SCHEDULED = "Scheduled"
    """an executor holds its place; nothing has begun"""
    PREPARING = "Preparing"
    """project files are brought to the executor"""
    BUILDING = "Building"
    """the environment's image is built"""
    PULLING = "Pulling"
    """the image is fetched from its registry"""
    RUNNING = "Running"
    """the user's command executes"""
    FINISHING = "Finishing"
    """the command has ended; changed files are copied back"""
    STOP_REQUESTED = "StopRequested"
    """a stop has been received; whatever runs is told to end"""
    STOPPING = "Stopping"
    """user code has ended; changed files are copied back"""
    SUCCEEDED = "Succeeded"
    """ended without error"""
    FAILED = "Failed"
    """ended because of the user's code"""
    ERROR = "Error"
    """ended because of anything else"""
    STOPPED = "Stopped"
    """ended because somebody stopped it"""

    @property
    def is_final(self) -> bool:
        """True for the four states that nothing leaves."""
        return self in (State.SUCCEEDED, State.FAILED, State.ERROR, State.STOPPED)


class Model(BaseModel):
    """An immutable record."""

    model_config = ConfigDict(frozen=True)


class StateChange(Model):
    state: State
    at: datetime
    did: str | None = None
    """what was done in it, in a few words, once that is known"""


class Cause(Model):
    """Why a Run ended Failed or Error: one row of the table in `workflows/causes.py`, with its evidence."""

    code: str
    stage: State
    """the state the Run was in when it arose"""
    blame: Literal["user", "platform"]
    message: str
    advice: str
    evidence: dict[str, Any] = {}


class Results(Model):
    """What a Run changed in its project: numbers of files, and their bytes."""

    added: int = 0
    changed: int = 0
    deleted: int = 0
    bytes: int = 0
    branch: str | None = None
    """the branch of the project that holds them"""
    conflicts: list[str] = []
    """paths that another Run, or a push, had changed meanwhile as well (the first hundred)"""
    skipped: list[str] = []
    """what was not brought back, and why (the first hundred)"""


class Usage(Model):
    """What a command used. None: it was over before it was looked at, or the engine does not tell."""

    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    mean_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """what its tier allows"""
    read_bytes: int | None = None
    """from disks, not from the page cache"""
    written_bytes: int | None = None
    received_bytes: int | None = None
    """from the network"""
    sent_bytes: int | None = None
    mean_gpu_percent: float | None = None
    """of the time in which its GPUs were at work; None: it has none, or they do not tell"""
    peak_gpu_memory_bytes: int | None = None

    @property
    def memory_share(self) -> float | None:
        """The greatest part of its memory that it used."""
        if self.peak_memory_bytes is None or not self.memory_limit_bytes:
            return None
        return self.peak_memory_bytes / self.memory_limit_bytes


Metric = bool | int | float | str
"""A value that a command tells of itself."""


class Queue(Model):
    """A waiting Run's place."""

    position: int
    """1 is the next: by priority, then by start, as though owners did not take turns"""
    executors: int | None = None
    """how many serve its tier; None where that cannot be told, since the store is away"""
    held: int = 0
    """how many Runs of its tier have a place on them"""
    left: int = 0
    """how many more they have room for now"""
    idle: dict[str, str] = {}
    """those of its tier that take nothing, by id: what each is, "draining", "unwritable", "silent" or "ended" """


class Stop(Model):
    """A stop that was received. `too_late`: the command had already ended by itself, so it changed nothing."""

    at: datetime
    commit_results: bool = True
    reason: str | None = None
    too_late: bool = False


class PinnedInput(Model):
    """An input of a spec, at one commit."""

    project: str
    commit: str
    path: str


class RunFacts(Model):
    """What status and result share."""

    run_id: str
    execution_id: str
    state: State
    history: list[StateChange]
    attempt: int = 1
    reason: str | None = None
    """why it waits, or what it does now"""
    executor: str | None = None
    build: str | None = None
    """the workflow that builds its image, while it waits for that"""
    build_console: str | None = None
    """whose console has what its image's build printed: "workflow id/execution id"; None where it was built before"""
    input_commit: str | None = None
    inputs: list[PinnedInput] = []
    """the files of other projects that it reads"""
    output_commit: str | None = None
    environment: str | None = None
    """the revision of a named environment that it runs in, as "name#number" """
    image: str | None = None
    """what the command ran in, pinned: name@digest, or the local image id where no registry knows it"""
    exit_code: int | None = None
    cause: Cause | None = None
    stop: Stop | None = None
    results: Results | None = None
    usage: Usage | None = None
    metrics: dict[str, Metric] | None = None
    """what the command wrote into dominostats.json"""
    metrics_note: str | None = None
    """why what it wrote there is none"""
    spec: dict[str, Any] | None = None
    """the RunSpec, as given where it is not valid"""


class RunStatus(RunFacts):
    """The answer of the `status` query. The workflow leaves its own fields empty: they need I/O, clients join them."""

    queue: Queue | None = None
    """while it waits in its tier's queue"""
    progress: dict[str, Any] | None = None
    """what the phase under way last said of itself: files, bytes, build steps, layers, last lines, usage"""


class RunResult(RunFacts):
    """The same facts, final."""
