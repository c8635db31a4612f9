"""Room: how many more Runs an executor can hold. Never more than it offered, whatever mix of tiers comes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from temporal_runs.fleet import Resources
from temporal_runs.steps import Tier


class TooBig(ValueError):
    """A tier, or an offer, that the machine cannot hold, or that there is not."""


@dataclass(frozen=True)
class Offer:
    """What an executor is to give to Runs: by default all that its machine has, but no GPUs."""

    serve: Mapping[str, int] | None = None
    """tier → slots, in place of room that all tiers share"""
    cores: float | None = None
    memory: int | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Machine:
    """What a machine has for Runs."""

    cores: float
    memory: int
    limits_disks: bool
    gpus: int = 0

    def offering(self, offer: Offer) -> "Machine":
        """As much of it as is offered; raises TooBig where that is more than there is."""
        cores, memory = offer.cores or self.cores, offer.memory or self.memory
        if cores > self.cores or memory > self.memory:
            raise TooBig(f"{_size(cores, memory)} are offered, and this machine has {_size(self.cores, self.memory)}")
        return Machine(cores, memory, self.limits_disks, offer.gpus)

    def why_not(self, tier: Tier) -> str | None:
        """Why it cannot serve a tier; None where it can."""
        if tier.cores > self.cores or tier.memory > self.memory:
            return f"needs {_size(tier.cores, tier.memory)}; this machine has {_size(self.cores, self.memory)}"
        if tier.gpus > self.gpus:
            return f"needs {tier.gpus} GPUs; this executor was given {self.gpus} (--gpus)"
        if tier.disk and not self.limits_disks:
            return "limits the disk, which needs an executor that is root on the engine's own machine"
        if missing := [folder for folder in tier.mounts.values() if not Path(folder).is_dir()]:
            return f"mounts {', '.join(missing)}, which this machine does not have"
        return None


@dataclass(frozen=True)
class Room:
    """Either so many slots of each tier (`slots`), or cores, memory and GPUs that all tiers share."""

    tiers: Mapping[str, Tier]
    """the tiers that are served"""
    slots: Mapping[str, int] | None
    whole: Resources

    @classmethod
    def offered(cls, offer: Offer, tiers: Mapping[str, Tier], machine: Machine) -> "Room":
        """The room of an offer; raises TooBig."""
        machine = machine.offering(offer)
        whole = Resources(cores=machine.cores, memory=machine.memory, gpus=machine.gpus)
        fitting = {name: tier for name, tier in tiers.items() if machine.why_not(tier) is None}
        if offer.serve is None:
            if not fitting:
                reasons = "; ".join(f"{name} {machine.why_not(tier)}" for name, tier in tiers.items())
                raise TooBig(f"no tier fits: {reasons}")
            return cls(fitting, None, whole)
        for name in offer.serve:
            if name not in tiers:
                raise TooBig(f"there is no tier {name!r}; there are {', '.join(tiers)}")
            if name not in fitting:
                raise TooBig(f"tier {name} {machine.why_not(tiers[name])}")
        gpus = sum(tiers[name].gpus * slots for name, slots in offer.serve.items())
        if gpus > machine.gpus:
            raise TooBig(f"{gpus} GPUs are needed for all that is served; this executor was given {machine.gpus}")
        return cls({name: tiers[name] for name in offer.serve}, dict(offer.serve), whole)

    def left(self, tier: Tier, held: Iterable[Tier]) -> int:
        """How many more Runs of a tier fit beside those that are held."""
        held = list(held)
        if self.slots is not None:
            return max(0, self.slots.get(tier.name, 0) - Counter(one.name for one in held)[tier.name])
        used = self.used(held)
        fitting = [
            # In whole numbers: ten times a tenth of a core is one core.
            (_nano(self.whole.cores) - _nano(used.cores)) // _nano(tier.cores),
            (self.whole.memory - used.memory) // tier.memory,
        ]
        if tier.gpus:
            fitting.append((self.whole.gpus - used.gpus) // tier.gpus)
        return max(0, min(fitting))

    def used(self, held: Iterable[Tier]) -> Resources:
        """What those that are held take."""
        held = list(held)
        return Resources(
            cores=sum(_nano(one.cores) for one in held) / 1e9,
            memory=sum(one.memory for one in held),
            gpus=sum(one.gpus for one in held),
        )

    def most(self) -> int:
        """The greatest number of Runs that are held at once."""
        if self.slots is not None:
            return sum(self.slots.values())
        return max(self.left(tier, ()) for tier in self.tiers.values())


def _nano(cores: float) -> int:
    return round(cores * 1e9)


def _size(cores: float, memory: int) -> str:
    return f"{cores:g} cores and {memory / 2**30:.3g} GiB"
