"""Images of a machine, on the real engine, with records in a folder of the test's own."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from temporal_runs.engine import Credentials, Engine, Progress
from temporal_runs.images import Login, MachineImages
from tests.conftest import PASSWORDS

GIB = 2**30
ADA = Login("ada's", Credentials("ada", PASSWORDS["ada"]))
BOB = Login("bob's", Credentials("bob", PASSWORDS["bob"]))
STRANGER = Login("eve's", Credentials("eve", "guessed"))


def nothing(_: Progress) -> None: ...


@pytest.fixture
def machine(engine: Engine, tmp_path: Path) -> Callable[..., MachineImages]:
    """The images of an executor; called again, those of the same executor in a new process."""

    def make(limit: int = GIB, in_use_since: Callable[[], datetime | None] = lambda: None) -> MachineImages:
        return MachineImages(engine, tmp_path / "images", limit, in_use_since)

    return make


@pytest.fixture
def private_image(private_registry: str, new_image: Callable[..., str]) -> str:
    return new_image(private_registry, login={"username": "ada", "password": PASSWORDS["ada"]})


class Waiting:
    """Somebody who waits for something in a thread of their own."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._outcome: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(work, *arguments), daemon=True)
        self._thread.start()

    def outcome(self) -> Any:
        """What came of it; raises what it raised."""
        self._thread.join(60)
        assert self._outcome, "still waits"
        if isinstance(self._outcome[0], BaseException):
            raise self._outcome[0]
        return self._outcome[0]

    def _run(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._outcome.append(work(*arguments))
        except BaseException as error:
            self._outcome.append(error)


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (value := condition()):
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)
    return value
