"""Room: how many more Runs an executor can hold. Never more than it declared, whatever mix of tiers comes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from temporal_runs.steps import Tier


class TooBig(ValueError):
    """A tier that the machine cannot hold, or that there is not."""


@dataclass(frozen=True)
class Machine:
    """What a machine has for Runs."""

    cores: int
    memory: int
    limits_disks: bool

    def why_not(self, tier: Tier) -> str | None:
        """Why it cannot serve a tier; None where it can."""
        if tier.cores > self.cores or tier.memory > self.memory:
            return (
                f"needs {tier.cores:g} cores and {tier.memory / 2**30:g} GiB; "
                f"this machine has {self.cores} cores and {self.memory / 2**30:.1f} GiB"
            )
        if tier.disk and not self.limits_disks:
            return "limits the disk, which needs an executor that is root on the engine's own machine"
        if missing := [folder for folder in tier.mounts.values() if not Path(folder).is_dir()]:
            return f"mounts {', '.join(missing)}, which this machine does not have"
        return None


@dataclass(frozen=True)
class Room:
    """Either so many slots of each tier (`slots`), or cores and memory that all tiers share."""

    tiers: Mapping[str, Tier]
    """the tiers that are served"""
    slots: Mapping[str, int] | None
    cores: float
    memory: int

    @classmethod
    def declared(cls, serve: Mapping[str, int] | None, tiers: Mapping[str, Tier], machine: Machine) -> "Room":
        """The room of `serve` (tier → slots), or of the whole machine for None; raises TooBig."""
        fitting = {name: tier for name, tier in tiers.items() if machine.why_not(tier) is None}
        if serve is None:
            if not fitting:
                raise TooBig(f"no tier fits a machine of {machine.cores} cores and {machine.memory / 2**30:.1f} GiB")
            return cls(fitting, None, machine.cores, machine.memory)
        for name in serve:
            if name not in tiers:
                raise TooBig(f"there is no tier {name!r}; there are {', '.join(tiers)}")
            if name not in fitting:
                raise TooBig(f"tier {name} {machine.why_not(tiers[name])}")
        return cls({name: tiers[name] for name in serve}, dict(serve), machine.cores, machine.memory)

    def left(self, tier: Tier, held: Iterable[Tier]) -> int:
        """How many more Runs of a tier fit beside those that are held."""
        if self.slots is not None:
            return self.slots.get(tier.name, 0) - Counter(one.name for one in held)[tier.name]
        held = list(held)
        cores = self.cores - sum(one.cores for one in held)
        memory = self.memory - sum(one.memory for one in held)
        return max(0, min(int(cores // tier.cores), int(memory // tier.memory)))

    def most(self) -> int:
        """The greatest number of Runs that are held at once."""
        if self.slots is not None:
            return sum(self.slots.values())
        return max(self.left(tier, ()) for tier in self.tiers.values())
