"""The Runs of a chaos: of every kind of ending, each with what it must end as."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from temporal_runs.status import State
from tests.chaos.stand import PIPE
from tests.witness import SWITCHES

FILES = 5
PROJECTS = 4
BUILDS = 4
"""Different ones: Runs share them."""

STEADY, SHORT_LEASED = "one", "two"
"""Tiers: of executors that never keep away for as long as their lease, and of those that sometimes do."""

UNSERVED = "three"
"""A tier of which there is no executor."""

FOR_EVER = 10**6


@dataclass(frozen=True)
class Ending:
    """A way for a Run to end."""

    name: str
    often: int
    """in proportion to the others"""
    state: State
    code: str | None = None
    exit_code: int | None = None
    does: str = "exit 0"
    lines: int = 12
    """printed on each stream, before the end"""
    pause: float = 0.2
    """seconds between two of them"""
    to_the_end: bool = True
    """False: something ends it, in the middle of anything, if it begins at all"""
    stop: bool | None = None
    """whether the stop that it gets keeps results; None: it gets none"""
    suffers: Literal["cancel", "terminate", "remove"] | None = None
    """what somebody does to it: Temporal's cancel or terminate, or the removal of its container"""
    tier: str = STEADY
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])


ENDINGS = (
    Ending("succeeds", 4, State.SUCCEEDED, exit_code=0),
    Ending("prints much", 2, State.SUCCEEDED, exit_code=0, lines=2000, pause=0),
    Ending("fails", 3, State.FAILED, "exit_code", 3, does="exit 3"),
    Ending("crashes", 2, State.FAILED, "signal", 139, does="kill -SEGV $$"),
    Ending("out of memory", 1, State.FAILED, "out_of_memory", 137, does="tail /dev/zero; exit 137"),
    Ending("time limit", 2, State.FAILED, "time_limit", lines=FOR_EVER, to_the_end=False, spec={"time_limit": 2.5}),
    Ending("stopped", 3, State.STOPPED, lines=FOR_EVER, to_the_end=False, stop=True),
    Ending("stopped, discarded", 2, State.STOPPED, lines=FOR_EVER, to_the_end=False, stop=False),
    Ending("stopped or not", 2, State.SUCCEEDED, exit_code=0, stop=True),
    Ending("restartable", 5, State.SUCCEEDED, exit_code=0, lines=20, tier=SHORT_LEASED,
           spec={"on_executor_lost": "restart", "max_restarts": 100}),
    Ending("is built", 2, State.SUCCEEDED, exit_code=0, lines=5, does="[ -e /built ]"),
    Ending("cannot be built", 1, State.FAILED, "build_failed", to_the_end=False),
    Ending("no such command", 1, State.FAILED, "command_not_found", to_the_end=False,
           spec={"command": ["no-such-program"]}),
    Ending("cancelled", 2, State.STOPPED, lines=FOR_EVER, to_the_end=False, suffers="cancel"),
    Ending("terminated", 2, State.ERROR, "terminated", lines=FOR_EVER, to_the_end=False, suffers="terminate"),
    Ending("removed", 2, State.ERROR, "container_killed", lines=FOR_EVER, to_the_end=False, suffers="remove"),
    Ending("queue limit", 1, State.ERROR, "queue_limit", to_the_end=False, tier=UNSERVED, spec={"queue_limit": 2}),
    Ending("no such image", 1, State.FAILED, "image_not_found", to_the_end=False),
    Ending("no such tier", 1, State.FAILED, "invalid_spec", to_the_end=False, spec={"tier": "no-such-tier"}),
)  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A Run, and when it is started; seconds from the beginning."""

    at: float
    id: str
    ending: Ending
    project: int
    build: int
    after: float
    """seconds from its start, where it is stopped or suffers something; from its command's, where that is removed"""

    def spec(self, project: str, image: str, registry: str, mark: str) -> dict[str, Any]:
        """`registry` has not the image that is missing; `mark` is what builds have in common with no other chaos."""
        environment: dict[str, Any] = {"image": image}
        if self.ending.name.endswith("built"):
            last = "exit 7" if self.ending.name == "cannot be built" else "echo built > /built"
            environment = {"base": image, "instructions": [f"RUN echo {mark}-{self.build}", f"RUN {last}"]}
        if self.ending.name == "no such image":
            environment = {"image": f"{registry}/nobody-has-this:1"}
        return {
            "project": project,
            "command": _command(self.ending),
            "environment": environment,
            "tier": self.ending.tier,
            "mounts": [SWITCHES],
            "stop_grace": 2,
            **self.ending.spec,
        }


def plan(random: Random, seconds: float) -> list[Planned]:
    """The Runs of so many seconds: one a second, or a little less."""
    planned: list[Planned] = []
    at = 0.0
    while (at := at + random.uniform(0.3, 1.9)) < seconds:
        # Each once, and then as often as they are wanted.
        chosen = random.choices(ENDINGS, [ending.often for ending in ENDINGS])[0]
        ending = ENDINGS[len(planned)] if len(planned) < len(ENDINGS) else chosen
        planned.append(
            Planned(
                at=at,
                id=f"chaos-{len(planned)}",
                ending=ending,
                project=random.randrange(PROJECTS),
                build=random.randrange(BUILDS),
                after=random.uniform(0, 6),
            )
        )
    return planned


def _command(ending: Ending) -> str:
    return f"""
        tell() {{ echo "$RUN_ID $HOSTNAME $*" > /datasets/{SWITCHES}/{PIPE}; }}
        n=0
        say() {{ n=$((n+1)); tell said $n; echo "out $n"; echo "err $n" >&2; }}
        tell began
        mkdir -p runs/$RUN_ID
        echo started >> runs/$RUN_ID/starts
        while [ $n -lt {ending.lines} ]; do say; {f"sleep {ending.pause}" if ending.pause else ":"}; done
        for i in {" ".join(map(str, range(FILES)))}; do echo "file $i of $RUN_ID" > runs/$RUN_ID/$i; done
        tell ended
        {ending.does}
    """
