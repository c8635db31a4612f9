"""A store of each kind, and what most tests do with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from store_folders import Desk

from temporal_runs.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store") if request.param == "local" else "memory://")


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    (tmp_path / "desk").mkdir()
    return Desk(store, tmp_path / "desk")


@pytest.fixture
def desk_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Desk]:
    """A new desk with an empty store in memory, for each example of a property."""
    return lambda: Desk(Store.open("memory://"), tmp_path_factory.mktemp("desk"))
