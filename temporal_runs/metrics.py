"""What a fleet is measured by. Every process tells it to Prometheus itself, beside what Temporal's SDK measures.

All goes through the SDK's meter: inside a workflow that is the one which stays silent while a history is replayed.
"""

from dataclasses import dataclass

from temporalio.common import MetricMeter


@dataclass(frozen=True)
class Counter:
    """Of things that have happened."""

    name: str
    what: str

    @property
    def series(self) -> str:
        """What Prometheus calls it."""
        return f"{self.name}_total"

    def add(self, meter: MetricMeter, number: int, **labels: str) -> None:
        meter.create_counter(self.name, self.what).add(number, labels)


@dataclass(frozen=True)
class Gauge:
    """Of what is there now."""

    name: str
    what: str

    @property
    def series(self) -> str:
        return self.name

    def show(self, meter: MetricMeter, number: int, **labels: str) -> None:
        meter.create_gauge(self.name, self.what).set(number, labels)


@dataclass(frozen=True)
class Duration:
    """A histogram of seconds."""

    name: str
    what: str
    bounds: tuple[float, ...]

    @property
    def series(self) -> str:
        return f"{self.name}_seconds"

    def record(self, meter: MetricMeter, seconds: float, **labels: str) -> None:
        meter.create_histogram_float(self.name, self.what, "seconds").record(seconds, labels)


STATES = Counter("temporal_runs_states", "Runs that entered a state; labels state, tier, cause")
IN_STATE = Duration(
    "temporal_runs_state",
    "seconds that Runs spent in a state, when they leave it; labels state, tier",
    (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600, 4 * 3600, 24 * 3600),
)
LEASES = Gauge("temporal_runs_leases", "Runs that an executor holds; labels executor, tier")
ROOM = Gauge("temporal_runs_room", "more Runs that an executor has room for; labels executor, tier")
WORKSPACES = Counter("temporal_runs_workspaces", "workspaces made; label cache: hit where no file had to be brought")
STAGED = Counter("temporal_runs_staged_bytes", "bytes of files brought into workspaces")
IMAGES = Counter("temporal_runs_images", "images that Runs needed; label found: machine, pull or build")
RETURNED = Counter("temporal_runs_returned_bytes", "bytes of results copied back")
NOTIFICATIONS = Counter("temporal_runs_notifications", "tries at telling somebody of a Run's end; labels by, told")

ALL = (STATES, IN_STATE, LEASES, ROOM, WORKSPACES, STAGED, IMAGES, RETURNED, NOTIFICATIONS)
