"""What a command used: a series that stays small however long it runs, its summary, its drawing."""

from pathlib import Path

import pytest

from temporal_runs.cli.usage import sparkline
from temporal_runs.store import Store
from temporal_runs.usage import LENGTH, Reading, Series

MIB = 2**20


def series(*readings: Reading) -> Series:
    made = Series(cores=2, memory_limit_bytes=100 * MIB)
    for reading in readings:
        made.add(reading)
    return made


def test_a_summary_is_of_the_whole():
    made = series(Reading(0, 0.5, 10 * MIB, 0, 5), Reading(1, 1.0, 20 * MIB, 7, 5), Reading(4, 2.5, 40 * MIB, 9, 6))
    usage = made.usage
    assert usage.cpu_seconds == 2.5
    assert usage.mean_memory_bytes == 35 * MIB
    assert usage.memory_share == 0.4
    assert (usage.read_bytes, usage.written_bytes, usage.received_bytes) == (9, 6, None)


def test_rates_lie_between_two_readings():
    first, second = series(Reading(0, 0, 1), Reading(2, 3, 2, 0), Reading(6, 4, 3, 400)).rates
    assert (first.cores, first.memory, first.read) == (1.5, 2, None)
    assert (second.cores, second.memory, second.read) == (0.25, 3, 100)


@pytest.mark.parametrize("seconds", [LENGTH, LENGTH + 1, 3 * LENGTH, 86_400])
def test_a_long_run_has_no_more_readings_and_they_are_even(seconds: int):
    made = series(*(Reading(second, second / 2, 1) for second in range(seconds)))
    assert LENGTH / 3 < len(made.readings) <= LENGTH
    assert made.readings[0].at == 0
    assert made.readings[-1].at == seconds - 1
    steps = [rates.cores for rates in made.rates]
    assert steps == [0.5] * len(steps)
    spaces = [after.at - before.at for before, after in zip(made.readings, made.readings[1:-1], strict=False)]
    assert max(spaces) <= 3 * min(spaces)


def test_it_is_kept_beside_the_console_of_its_attempt(tmp_path: Path):
    store = Store.open(str(tmp_path))
    made = series(Reading(0, 0.5, 10), Reading(1, 1.0, 20, 1, 2, 3, 4))
    made.store(store, "r1", "execution", 1)
    assert Series.load(store, "r1", "execution", 1) == made
    assert Series.load(store, "r1", "execution", 2) is None


def test_a_drawing_shows_the_greatest_values_and_fits():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 80) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 8, 0, 0], 2) == "█▁"
    assert sparkline([1, 1], 80, top=8) == "▂▂"
    assert sparkline([0.0], 80) == "▁"
    assert sparkline([], 80) == ""


def test_gpus_are_part_of_it_where_there_are_any():
    made = series(
        Reading(0, 0, 1, gpu_percent=20, gpu_memory_bytes=7), Reading(1, 0, 1, gpu_percent=60, gpu_memory_bytes=5)
    )
    assert (made.usage.mean_gpu_percent, made.usage.peak_gpu_memory_bytes) == (40, 7)
    assert (made.rates[0].gpu, made.rates[0].gpu_memory) == (60, 5)
    without = series(Reading(0, 0, 1)).usage
    assert (without.mean_gpu_percent, without.peak_gpu_memory_bytes) == (None, None)
