"""A real S3 server on this machine: SeaweedFS."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from temporal_runs.store import Store, StoreUnavailable

BIN = Path(sys.executable).parent
BUCKET = "runs"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, nor 10,000 above: SeaweedFS takes these for gRPC."""
    with ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            try:
                one = held.enter_context(socket.create_server(("127.0.0.1", 0)))
                port = one.getsockname()[1]
                if port > 45_000:
                    port -= 20_000
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
                held.enter_context(socket.create_server(("127.0.0.1", port + 10_000)))
            except OSError:
                continue
            found.append(port)
        return found


class S3:
    """The server, its bucket, and how it is taken away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._master, self._volume, self._filer, self.port = free_ports(4)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": "key", "secretKey": "secret"}],
            "actions": ["Read", "Write", "List"],
        }
        reader = {
            "name": "reader",
            "credentials": [{"accessKey": "reader", "secretKey": "secret"}],
            "actions": ["Read", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity, reader]}))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    BIN / "weed",
                    "server",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    f"-dir={self._folder}",
                    f"-master.port={self._master}",
                    f"-volume.port={self._volume}",
                    f"-filer.port={self._filer}",
                    "-volume.max=20",
                    "-master.volumeSizeLimitMB=256",
                    "-master.telemetry=false",
                    "-s3",
                    f"-s3.port={self.port}",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    f"-s3.config={self._folder / 's3.json'}",
                ],
                stdout=log,
                stderr=log,
            )
        self._wait()

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    @contextmanager
    def stalled(self) -> Generator[None]:
        """It takes what is asked of it, and answers nothing until the block ends."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _wait(self) -> None:
        """It tells nobody when it is ready, so it is asked."""
        bucket = urllib.request.Request(f"http://127.0.0.1:{self._filer}/buckets/{BUCKET}/", method="POST")
        deadline = time.monotonic() + 60
        while True:
            try:
                try:
                    urllib.request.urlopen(bucket, timeout=5).close()
                except urllib.error.HTTPError as error:
                    if error.code != 409:  # it exists
                        raise
                Store.open(f"s3://{BUCKET}/ready")
                return
            except (OSError, StoreUnavailable):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT": f"http://127.0.0.1:{server.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def s3_url(s3: S3) -> Callable[[], str]:
    """The address of an empty store."""
    used: list[int] = []

    def url() -> str:
        used.append(0)
        return f"s3://{BUCKET}/{time.time_ns()}-{len(used)}"

    return url
