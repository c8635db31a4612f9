"""What a command writes into dominostats.json is a metric, or is told to be none; never the end of a Run."""

import json

import pytest

from temporal_runs.reported import NoMetrics, parsed


def test_numbers_texts_and_truths_are_metrics():
    written = {"R^2": 0.99, "p-value": 1e-7, "rows": 12, "model": "ridge", "converged": True}
    assert parsed(json.dumps(written).encode()) == written


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 10_000, "not JSON"),
        (b"[1]", "an object"),
        (b'{"loss": NaN}', "'loss' should be a number"),
        (b'{"loss": 1e999}', "'loss' should be a number"),
        (b'{"losses": [1, 2]}', "'losses' should be a number"),
        (json.dumps({"text": "x" * 201}).encode(), "'text' should be"),
        (json.dumps({str(n): n for n in range(101)}).encode(), "101 metrics"),
        (b'{"a": "' + b" " * 20_000 + b'"}', "16 KiB"),
    ],
)
def test_anything_else_is_none_and_it_is_said_why(text: bytes, why: str):
    with pytest.raises(NoMetrics, match=why):
        parsed(text)
