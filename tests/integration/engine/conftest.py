"""A small image of its own, containers that are gone afterwards, sick registries, and an engine that can be cut off."""

import http.server
import io
import os
import shutil
import socket
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from temporal_runs.engine import ContainerSpec, Engine

APPLETS = ("sh", "sleep", "cat", "echo", "tail", "kill", "id", "seq", "head", "touch", "printf", "true", "yes", "sed")


@pytest.fixture(scope="session")
def small_image(engine: Engine) -> Iterator[str]:
    """The tag of a 2 MB image: `FROM scratch` with Debian's busybox-static."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        busybox = shutil.which("busybox")
        assert busybox, "tests need Debian's busybox-static"
        tar.add(busybox, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "mnt"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(folder)
    name = f"engine-test-{uuid.uuid4().hex[:8]}"
    docker.from_env().api.import_image_from_data(
        archive.getvalue(),
        repository=name,
        tag="1",
        changes=["ENV PATH=/bin", "ENTRYPOINT /bin/true", f"LABEL {name}=1"],
    )
    yield f"{name}:1"
    engine.remove_image(f"{name}:1")
    # The layers that builds on it have left in the builder's cache.
    docker.from_env().images.prune(filters={"dangling": True, "label": name})


@pytest.fixture
def make_spec(engine: Engine, small_image: str) -> Iterator[Callable[..., ContainerSpec]]:
    """Specs of containers, which are removed after the test."""
    image = engine.find_image(small_image)
    assert image
    names: list[str] = []

    def make(*argv: str, name: str = "", memory: int = 64 * 2**20, **more: object) -> ContainerSpec:
        names.append(name or f"engine-test-{uuid.uuid4().hex[:8]}")
        given = {"env": {}, "mounts": {}, "labels": {}, "working_dir": "/mnt", "image": image.id, **more}
        return ContainerSpec(
            name=names[-1], argv=list(argv), user="1000:1000", cores=0.5, memory=memory, pids=64, shm=2**20, **given
        )

    yield make
    for name in names:
        engine.remove(name)


@pytest.fixture
def started(engine: Engine, make_spec: Callable[..., ContainerSpec]) -> Callable[..., str]:
    """Starts a container, and gives its name."""

    def start(*argv: str, **more: object) -> str:
        spec = make_spec(*argv, **more)
        engine.create(spec)
        engine.start(spec.name)
        return spec.name

    return start


@pytest.fixture
def ended(engine: Engine, started: Callable[..., str]) -> Callable[..., str]:
    """Runs a container to its end, and gives its name."""

    def run(*argv: str, **more: object) -> str:
        name = started(*argv, **more)
        engine.wait(name)
        return name

    return run


@pytest.fixture
def tag(engine: Engine) -> Iterator[str]:
    """A tag to build under."""
    tag = f"engine-test-{uuid.uuid4().hex[:8]}:built"
    yield tag
    engine.remove_image(tag)


@pytest.fixture
def sick_registry() -> Iterator[Callable[..., str]]:
    """Makes registries that answer everything with one HTTP status; gives their host:port."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def make(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


class Cable:
    """A socket that leads to the real engine until it is cut: what the loss of an engine looks like from outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[socket.socket] = []
        self._carries = threading.Event()
        self._carries.set()
        self.bytes_back = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection, and takes no new one."""
        self.path.unlink(missing_ok=True)
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Takes everything, and carries nothing."""
        self._carries.clear()

    def go_on(self) -> None:
        self._carries.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect("/var/run/docker.sock")
            self._ends += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._carries.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    cable = Cable(tmp_path / "docker.sock")
    yield cable
    cable.cut()
    cable.go_on()


@pytest.fixture
def engine_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Engine]:
    """An engine at another address."""

    def connect(address: str) -> Engine:
        monkeypatch.setitem(os.environ, "DOCKER_HOST", address)
        return Engine.connect()

    return connect
