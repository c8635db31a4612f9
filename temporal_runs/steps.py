"""What passes from one phase of a Run to the next: inputs → lease → workspace → image → exit → results."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from temporal_runs.environment import DEFAULT_IMAGE, Environment
from temporal_runs.notices import Notice
from temporal_runs.spec import RunSpec
from temporal_runs.status import Metric, Model, PinnedInput, Results, RunResult, Usage

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
    images: list[str] = Field(default_factory=list[str])
    """references of images that its executors fetch before a Run asks for them"""

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


class Inputs(Model):
    """What queueing gives: the spec with everything that could move pinned."""

    spec: RunSpec
    commit: str
    tier: Tier
    imports: list[PinnedInput] = Field(default_factory=list[PinnedInput])
    environment: Environment | None = None
    """what the spec's named environment, or the project's default, stands for; None where the spec says it itself"""
    environment_revision: str | None = None
    """which revision that is, as "name#number" """
    max_running: int | None = None
    """how many Runs of the project may be on their way at once"""

    @property
    def runs_in(self) -> Environment:
        """The environment that the command runs in; never a named one."""
        return self.environment or self.spec.environment or Environment(image=DEFAULT_IMAGE)


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


class BuildPlan(Model):
    """The build of an image. Environments that are made of the same have the same plan, wherever they are built."""

    key: str
    """hash of all that decides what the image holds"""
    reference: str
    """the tag of the image, in the registry where there is one"""
    bases: dict[str, str]
    """base of its Dockerfile → the same image by what cannot move"""
    shared: bool
    """whether there is a registry, which brings it to all executors; else one builds for itself alone"""
    executor: str
    """who made the plan"""

    @property
    def workflow_id(self) -> str:
        """The build's workflow: one in the fleet, or one an executor."""
        return f"build.{self.key}" if self.shared else f"build.{self.key}.{self.executor}"


class ImageSearch(Model):
    """Where the image of a Run is: `image` when it is on the machine, else what has to be done to get it."""

    image: Image | None = None
    missing: Literal["build", "pull"] | None = None
    reference: str | None = None
    """what is to be pulled, pinned where that is known"""
    plan: BuildPlan | None = None
    """what is to be built"""


class BuildTicket(Model):
    """A Run that joins a build."""

    plan: BuildPlan
    assignment: Assignment


class BuildFault(Model):
    """Why a build failed: what the cause of all Runs that waited for it says."""

    code: str
    message: str
    evidence: dict[str, Any]


class Built(Model):
    """A build's answer to an attempt that waited: one of the four."""

    attempt: int = 0
    image: Image | None = None
    """it is on the attempt's own machine"""
    reference: str | None = None
    """it is in the registry"""
    fault: BuildFault | None = None
    lost: str | None = None
    """the attempt's executor was lost while it built"""


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
    metrics: dict[str, Metric] | None = None
    metrics_note: str | None = None


class Notification(Model):
    """What deliver takes: one who is to be told, and of what."""

    notice: Notice
    result: RunResult
