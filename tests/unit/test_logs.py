"""One stream: JSON for machines, lines for people, and whatever was bound with it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from temporal_runs.settings import Settings, SettingsError
from temporal_runs.worker import logs, telemetry
from tests.registries import free_port


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_ours_and_others_come_as_json_with_what_is_bound():
    stream = io.StringIO()
    logs.begin(stream)
    with structlog.contextvars.bound_contextvars(executor="gpu-1", run_id="r1"):
        structlog.get_logger().warning("no room", tier="small")
        logging.getLogger("somebody.elses").error("broken %s", "pipe")
        logging.getLogger("temporalio.workflow").info(
            "is Failed",
            extra={
                "state": "Failed",
                "cause": "exit_code",
                "temporal_workflow": {"workflow_type": "Run", "workflow_id": "r2"},
            },
        )
    ours, others, of_workflow = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (ours["event"], ours["tier"], ours["executor"], ours["run_id"]) == ("no room", "small", "gpu-1", "r1")
    assert (others["event"], others["level"], others["executor"]) == ("broken pipe", "error", "gpu-1")
    assert (of_workflow["run_id"], of_workflow["state"], of_workflow["cause"]) == ("r2", "Failed", "exit_code")
    assert {"timestamp", "logger"} <= others.keys()


def test_an_error_keeps_its_traceback_in_one_line():
    stream = io.StringIO()
    logs.begin(stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        structlog.get_logger().warning("a fault", exc_info=error)
    [line] = stream.getvalue().splitlines()
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_a_terminal_gets_lines_for_people(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.begin(terminal)
    structlog.get_logger().warning("no room", tier="small")
    assert "no room" in terminal.getvalue()
    assert "tier=small" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_what_temporals_core_says_comes_in_the_same_stream():
    stream = io.StringIO()
    logs.begin(stream)
    forwarding = logs.of_core().forwarding
    assert forwarding
    core = type(
        "Entry", (), {"level": logging.WARNING, "time": 1.7e9, "target": "a", "message": "m", "fields": {"at": 1}}
    )
    forwarding._on_logs([core])  # what the bridge calls: nothing makes the core log on demand
    line = json.loads(stream.getvalue())
    assert (line["event"], line["target"], line["core_at"], line["logger"]) == ("m", "a", 1, logs.CORE)


def test_a_port_that_is_taken_is_said():
    address = f"127.0.0.1:{free_port()}"
    first = telemetry.runtime(Settings(metrics=address))
    with pytest.raises(SettingsError, match=f"TEMPORAL_RUNS_METRICS: {address}.*in use"):
        telemetry.runtime(Settings(metrics=address))
    del first
