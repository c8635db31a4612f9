"""The stand: where commands tell what they do while they do it, whatever becomes of their consoles and results.

A pipe in a folder that they see for reading, which a pipe may be written in all the same. What is told arrives here in
the order in which it was told, and this process is the one that nobody kills.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.conftest import eventually

PIPE = "stand"


@dataclass
class Execution:
    """One start of a command, as it told of itself."""

    container: str
    said: int = 0
    """numbers told: each is told before it is printed"""
    ended: bool = False
    """it came to its ending: all is printed and written"""


class Stand:
    """`with Stand(folder) as stand:` takes in what is told, in this event loop."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PIPE
        self._rest = b""
        self._told: dict[str, list[tuple[str, ...]]] = {}

    def __enter__(self) -> Self:
        os.mkfifo(self._path)
        self._path.chmod(0o666)
        # For writing too, so that it is not at its end whenever nobody writes.
        self._end = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)

    async def heard(self, run_id: str) -> None:
        """Returns when a Run's command has begun."""
        await eventually(lambda: run_id in self._told)

    def executions(self, run_id: str) -> list[Execution]:
        """All starts of a Run's command, in their order; raises AssertionError where two were at once."""
        executions: list[Execution] = []
        for container, *words in self._told.get(run_id, []):
            if words == ["began"]:
                executions.append(Execution(container))
                continue
            assert executions and executions[-1].container == container, f"two at once: {self._told[run_id]}"
            execution = executions[-1]
            assert not execution.ended, f"goes on after its end: {words}"
            if words == ["ended"]:
                execution.ended = True
            else:
                assert words == ["said", f"{execution.said + 1}"], f"told {words} after {execution.said}"
                execution.said += 1
        return executions

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._end, 65536)).split(b"\n")
        for line in lines:
            run_id, *told = line.decode().split()
            self._told.setdefault(run_id, []).append(tuple(told))
