"""The killings: who is killed when, and for how long; and the processes that it is done to."""

import asyncio
from dataclasses import dataclass
from random import Random

from tests.fleets import Fleet, Process

SHORT_LEASE = 8
"""Seconds; only executors of restartable Runs have it, and stay away for longer now and then."""

NO_SERVER = 2
"""Exit status of a process that found no server."""


@dataclass(frozen=True)
class Killing:
    """Somebody is killed; seconds from the beginning, and until it is started again."""

    at: float
    victim: str
    away: float


STEADY = ("steady-1", "steady-2")
SHORT_LEASED = ("short-1", "short-2")
VICTIMS = (*STEADY, *SHORT_LEASED, "dispatcher", "server")

REST = 4
"""Seconds that a victim has at least, from its start to its next end: it takes some to come up."""


def plan(random: Random, seconds: float) -> list[Killing]:
    """The killings of so many seconds: one every few."""
    killings: list[Killing] = []
    spared_until = dict.fromkeys(VICTIMS, 0.0)
    at = 0.0
    while (at := at + random.uniform(1, 5)) < seconds:
        victim = random.choice([name for name in VICTIMS if spared_until[name] < at])
        long = victim in SHORT_LEASED and random.random() < 0.4
        away = random.uniform(SHORT_LEASE, 2 * SHORT_LEASE) if long else random.uniform(0, 3)
        spared_until[victim] = at + away + REST
        killings.append(Killing(at, victim, away))
    return killings


class Victims:
    """The processes of a fleet, by the names that killings have for them."""

    def __init__(self, fleet: Fleet, executors: dict[str, Process]) -> None:
        self._fleet = fleet
        self._processes = {"dispatcher": fleet.dispatcher, **executors}
        # One after another: a server may not have come up when its next end is due.
        self._turns = {name: asyncio.Lock() for name in VICTIMS}

    async def suffer(self, killing: Killing) -> None:
        """Kills, and starts again."""
        async with self._turns[killing.victim]:
            if killing.victim == "server":
                await self._fleet.server.kill()
                await asyncio.sleep(killing.away)
                await self._fleet.server.start()
                return
            process = self._processes[killing.victim]
            process.kill()
            await asyncio.sleep(killing.away)
            process.start()

    async def supervise(self) -> None:
        """Starts again what ended since there was no server when it came up, as systemd or compose do; until cancelled.

        Raises AssertionError where one ended by itself for another reason.
        """
        while True:
            for name, process in self._processes.items():
                if self._turns[name].locked() or process.runs:
                    continue
                assert process.ended() == NO_SERVER, f"{name} ended by itself: see {process.log}"
                process.start()
            await asyncio.sleep(0.5)
