"""What passes from one phase of a Run to the next: inputs → lease → workspace → image → exit → results."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from temporal_runs.spec import RunSpec
from temporal_runs.status import Model, Results, Usage

EndedBy = Literal["itself", "stop", "time_limit"]


class Tier(Model):
    """A kind of machine: the limits a command runs under. Memory, shm and disk in bytes, times in seconds."""

    name: str
    cores: float
    memory: int
    gpus: int = 0
    """how many it has to itself"""
    pids: int = 4096
    shm: int = 64 * 2**20
    disk: int | None = None
    """bytes a command can write into its working directory; None: as much as the machine has"""
    user: int | None = None
    """number of the user that commands run as; None: 1000"""
    default_time_limit: float | None = None
    """the time limit of a spec that has none"""
    max_time_limit: float | None = None
    """the greatest one that a spec may have, and the default where there is no other"""
    mounts: dict[str, str] = Field(default_factory=dict[str, str])
    """name → folder of the machine that a command of this tier may read"""

    def time_limit(self, asked_for: float | None) -> float | None:
        """The one that holds for a spec which asks for that."""
        return asked_for or self.default_time_limit or self.max_time_limit


def tier_queue(tier: str) -> str:
    """The task queue in which Runs of a tier wait for an executor."""
    return f"tier.{tier}"


class Attempt(Model):
    """One try at a Run. Everything on an executor is named after its key, so that nothing is made twice."""

    run_id: str
    execution_id: str
    number: int = 1

    @property
    def key(self) -> str:
        """Unique among all attempts of all Runs; fit for file and container names."""
        # The end of the execution id: its beginning is a clock (UUIDv7), shared by Runs started together.
        return f"{self.run_id}.{self.execution_id[-12:]}.{self.number}"

    @staticmethod
    def run_of(key: str) -> str:
        """The Run of an attempt's key; "" of anything else."""
        return key.rsplit(".", 2)[0] if key.count(".") >= 2 else ""

    def activity_id(self, name: str) -> str:
        """The id of one of its activities: whoever asks Temporal what is pending can tell the attempts apart."""
        return f"{name}.{self.number}"


class Submission(Model):
    """What queueing takes: a spec, not yet pinned."""

    run_id: str
    spec: RunSpec


class PinnedInput(Model):
    """An input of a spec, at one commit."""

    project: str
    commit: str
    path: str


class Inputs(Model):
    """What queueing gives: the spec with everything that could move pinned."""

    spec: RunSpec
    commit: str
    tier: Tier
    imports: list[PinnedInput] = Field(default_factory=list[PinnedInput])
    max_running: int | None = None
    """how many Runs of the project may be on their way at once"""


class Ticket(Model):
    """A Run that waits for one of the places of its project, or has one."""

    project: str
    run_id: str
    priority: int
    limit: int

    @property
    def limit_id(self) -> str:
        """The id of the workflow that gives the places; no Run can have it."""
        return f"limit:{self.project}"


class Turns(Model):
    """What the workflow `Limit` knows."""

    limit: int
    admitted: list[Ticket] = Field(default_factory=list[Ticket])
    waiting: list[Ticket] = Field(default_factory=list[Ticket])
    """in the order of their joining"""


class Request(Model):
    """What acknowledge takes: an attempt that asks for a place."""

    attempt: Attempt
    tier: Tier


class Lease(Model):
    """An executor's word that it holds a place. Every later activity of the attempt goes to its `task_queue`."""

    executor: str
    host: str
    task_queue: str
    token: str
    seconds: float
    """how long a silent executor keeps the Run"""


class Assignment(Model):
    """What every activity on the executor knows."""

    attempt: Attempt
    inputs: Inputs
    lease: Lease


class Workspace(Model):
    """The project's files on the executor, ready to be mounted."""

    folder: str
    """where it is on the executor, or where what is changed in it is"""
    files: int
    """how many had to be brought there"""
    bytes: int
    volume: str | None = None
    """the Docker volume that shows the files; None where the folder itself does"""
    imports: dict[str, str] = Field(default_factory=dict[str, str])
    """path below the working directory → folder on the executor, to be read"""


class Image(Model):
    """The image of a Run: `id` is what the container is made from, `name` what a person reads."""

    id: str
    name: str


class ImageSearch(Model):
    """Where the image of a Run is: `image` when it is on the machine, else what has to be done to get it."""

    image: Image | None = None
    missing: Literal["build", "pull"] | None = None


class Prepared(Model):
    """What prepare gives."""

    workspace: Workspace
    image: ImageSearch


class Order(Model):
    """What run takes."""

    assignment: Assignment
    workspace: Workspace
    image: Image


class Exit(Model):
    """How a command ended, and the evidence for it."""

    exit_code: int | None
    """None where its container is no more"""
    ended_by: EndedBy = "itself"
    """whose doing it was, as far as we did it"""
    out_of_memory: bool = False
    """the kernel killed it inside its own limit"""
    killed_by_engine: str | None = None
    """the signal that somebody else had the Docker engine send, if any"""
    disk_full: Literal["limit", "machine"] | None = None
    """its working directory's disk, the tier's own or the machine's, had no room left while it ran"""
    engine_lost: bool = False
    """the Docker engine went away while the command ran, and ended it"""
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    console_bytes: int | None = None
    """None where the console is not whole in the store yet"""
    last_lines: str = ""
    usage: Usage = Usage()


class Completion(Model):
    """What finish takes. Results are committed unless `commit_results` is false."""

    assignment: Assignment
    commit_results: bool = True


class Finished(Model):
    """What finish gives: the commit that holds the results (None: nothing was to be committed)."""

    output_commit: str | None = None
    results: Results = Results()
