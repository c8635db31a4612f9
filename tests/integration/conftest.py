"""A real registry for all tests here."""

from collections.abc import Iterator

import pytest

from tests.registries import Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a registry."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry.address
    registry.stop()
