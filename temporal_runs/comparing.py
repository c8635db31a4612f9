"""Two Runs beside each other: what differs in what was asked for, what it ran on, and how it went."""

from collections.abc import Iterator
from typing import Any

from temporal_runs.status import RunFacts

LEFT_OUT = {"run_id", "execution_id", "history", "reason", "build", "attempt", "queue", "progress"}
"""What differs between any two Runs, or says nothing once they are over."""


def differences(one: RunFacts, other: RunFacts) -> list[tuple[str, Any, Any]]:
    """What differs, by its dotted name, with the value of either; None where one has none."""
    sides = [dict(_flat("", _said(facts))) for facts in (one, other)]
    names = dict.fromkeys(name for side in sides for name in side)
    pairs = ((name, *(side.get(name) for side in sides)) for name in names)
    return [(name, a, b) for name, a, b in pairs if a != b]


def _said(facts: RunFacts) -> dict[str, Any]:
    said = facts.model_dump(mode="json", exclude=LEFT_OUT)
    if facts.cause:
        said["cause"] = {"code": facts.cause.code, "message": facts.cause.message}
    if facts.history[-1].state.is_final:
        said["seconds"] = round((facts.history[-1].at - facts.history[0].at).total_seconds(), 1)
    return said


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for part, inner in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON
        yield from _flat(f"{name}.{part}" if name else str(part), inner)  # pyright: ignore[reportUnknownArgumentType]
