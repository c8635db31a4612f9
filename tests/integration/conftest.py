"""A real registry, which can be taken down."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


class Registry:
    """Debian's docker-registry, with a storage of its own that outlives its process."""

    def __init__(self, folder: Path) -> None:
        self._program = Path(sys.executable).parent / "docker-registry"
        assert self._program.exists(), "tests need Debian's docker-registry: scripts/test-tools unpacks it"
        self.address = f"127.0.0.1:{free_port()}"
        self._log = folder / "log"
        self._config = folder / "config.yml"
        self._config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\n"
            f"http: {{addr: '{self.address}'}}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "serve", self._config], stdout=log, stderr=log)
        host, port = self.address.split(":")
        for _ in range(200):
            with suppress(OSError):
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.05)
        raise AssertionError("the registry takes no connection")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a registry."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry.address
    registry.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
