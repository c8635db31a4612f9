"""Ages and times, as people write them."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from temporal_runs.cli import moments
from temporal_runs.cli.exits import UsageProblem


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
    ],
)
def test_an_age_is_counted_from_now(text: str, age: timedelta):
    before = datetime.now(UTC)
    read = moments.read("--since", text)
    assert read
    assert before <= read + age <= datetime.now(UTC)


def test_a_time_is_taken_as_it_is():
    assert moments.read("--since", "2026-01-31T12:00+00:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert moments.read("--since", None) is None


@pytest.mark.parametrize("text", ["yesterday", "", "9999999999d", "9" * 400 + "s", "1w", "0001-01-01T00:00+10:00"])
def test_what_is_no_moment_is_refused_with_the_name_of_its_option(text: str):
    with pytest.raises(UsageProblem, match=re.escape(f"--until {text}:")):
        moments.read("--until", text)
