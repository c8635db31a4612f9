"""What GPUs of this machine do at this moment, as `nvidia-smi` tells it; nothing where there is no such command."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 5
"""Seconds for its answer: a driver that is in trouble gives none."""


@dataclass(frozen=True)
class GpuSample:
    """Of several together."""

    percent: float
    """of the time in which they were at work, their mean"""
    memory_bytes: int
    """in use, their sum"""


def sample(gpus: Sequence[int]) -> GpuSample | None:
    """What these GPUs do, by their numbers; None where that cannot be told. Blocks while the command runs."""
    if not gpus:
        return None
    command = [
        "nvidia-smi",
        f"--id={','.join(map(str, gpus))}",
        "--query-gpu=utilization.gpu,memory.used",
        "--format=csv,noheader,nounits",
    ]
    try:
        # It numbers GPUs as NVIDIA's container runtime does: as they sit on the bus.
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        rows = [line.split(",") for line in answer.splitlines()]
        busy = [float(percent) for percent, _ in rows]
        return GpuSample(sum(busy) / len(busy), sum(int(mebibytes) for _, mebibytes in rows) * 2**20)
    except (OSError, subprocess.SubprocessError, ValueError, ZeroDivisionError):
        # No such command, no driver, or a GPU that does not tell ("[N/A]").
        return None
