"""What GPUs do, as `nvidia-smi` tells it. A fake one answers here: no machine that tests run on has a GPU."""

from pathlib import Path

import pytest

from temporal_runs.engine import gpus
from temporal_runs.engine.gpus import GpuSample


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Has `nvidia-smi` do what a line for the shell says."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def answer(line: str) -> None:
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)

    return answer


def test_those_of_a_run_are_told_together(answers, tmp_path: Path):
    answers(f"echo \"$@\" > {tmp_path}/asked; printf '40, 1024\\n80, 2048\\n'")
    assert gpus.sample([1, 3]) == GpuSample(percent=60, memory_bytes=3 * 2**30)
    asked = (tmp_path / "asked").read_text()
    assert asked == "--id=1,3 --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits\n"


@pytest.mark.parametrize(
    "line", ["echo '[N/A], [N/A]'", "echo 'No devices were found'", "true", "echo 1, 2; exit 9", "exit 0"]
)
def test_what_cannot_be_told_is_none(answers, line: str):
    answers(line)
    assert gpus.sample([0]) is None


def test_a_machine_without_the_command_tells_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.sample([0]) is None


def test_a_run_without_gpus_asks_nobody(answers, tmp_path: Path):
    answers(f"touch {tmp_path}/asked")
    assert gpus.sample([]) is None
    assert not (tmp_path / "asked").exists()
