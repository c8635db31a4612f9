"""A real registry that can be taken down, a sick one in front of it, and images that are on no machine yet."""

import crypt
import http.client
import http.server
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import docker
import docker.errors


class Registry:
    """Debian's docker-registry, with a storage of its own that outlives its process; `users` and their passwords."""

    def __init__(self, folder: Path, users: Mapping[str, str] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._program = Path(sys.executable).parent / "docker-registry"
        assert self._program.exists(), "tests need Debian's docker-registry: scripts/test-tools unpacks it"
        self.address = f"127.0.0.1:{free_port()}"
        self.storage = folder / "storage"
        self._log = folder / "log"
        self._config = folder / "config.yml"
        lines = [
            "version: 0.1",
            f"storage: {{filesystem: {{rootdirectory: '{self.storage}'}}, delete: {{enabled: true}}}}",
            f"http: {{addr: '{self.address}'}}",
        ]
        if users:
            passwords = folder / "passwords"
            passwords.write_text("".join(f"{user}:{_hashed(password)}\n" for user, password in users.items()))
            lines.append(f"auth: {{htpasswd: {{realm: tests, path: '{passwords}'}}}}")
        self._config.write_text("\n".join([*lines, ""]))
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
        """Ends it, if it runs."""
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait(30)
            self._process = None


class Sick:
    """A registry's front door, which does what it is told: answers with errors, hangs, lies, or is slow.

    `requests` are the ("GET", "/v2/...") that came through it; `hangs` is set while a layer is held back.
    """

    def __init__(self, registry: Registry) -> None:
        self.requests: list[tuple[str, str]] = []
        self.hangs = threading.Event()
        self._healed = threading.Event()
        self._registry = registry
        self.heal()
        sick = self

        class Door(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                with suppress(OSError):
                    sick._serve(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", only: str = "") -> None:
        """From now on every request whose path has `only` in it gets this, and the registry hears of none."""
        self._answer = status, dict(headers or {}), body, only

    def hang(self, only: str = "") -> None:
        """Requests whose path has `only` in it get no answer until it is healed."""
        self._silent = only

    def hang_in_layers(self) -> None:
        """The second half of every layer comes only when it is healed."""
        self._layers = "hang"

    def corrupt_layers(self) -> None:
        """Every layer comes with its last byte turned."""
        self._layers = "corrupt"

    def drop_in_layers(self) -> None:
        """The connection breaks in the middle of every layer."""
        self._layers = "drop"

    def slow(self, bytes_per_second: int) -> None:
        """Bodies come at this pace, each."""
        self._pace = bytes_per_second

    def heal(self) -> None:
        """Does what the registry does."""
        self._answer: tuple[int, dict[str, str], bytes, str] | None = None
        self._silent: str | None = None
        self._layers = ""
        self._pace = 0
        self._healed.set()
        self._healed = threading.Event()
        self.hangs.clear()

    def close(self) -> None:
        self.heal()
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, part: str) -> int:
        """How many requests of that method had `part` in their path."""
        return sum(one == method and part in path for one, path in list(self.requests))

    def _serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = _body(request)
        self.requests.append((request.command, request.path))
        if self._silent is not None and self._silent in request.path:
            self._hang()
        if self._answer and self._answer[3] in request.path:
            status, headers, answer, _ = self._answer
            self._send(request, status, {**headers, "Content-Length": str(len(answer))}, answer)
            return
        try:
            upstream = http.client.HTTPConnection(self._registry.address, timeout=60)
            # One by one: a client says in several "Accept" which manifests it knows.
            upstream.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in _passed_on(request.headers.items()):
                if name.lower() != "content-length":
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            response = upstream.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            _break_off(request)
            return
        headers = dict(_passed_on(response.getheaders()))
        if request.command != "HEAD":
            headers["Content-Length"] = str(len(answer))
        self._send(request, response.status, headers, answer)

    def _send(
        self, request: http.server.BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        if body.startswith(b"\x1f\x8b"):  # a layer is gzipped, a config is not
            body = self._sick_layer(request, body)
        if not self._pace:
            request.wfile.write(body)
            return
        piece = max(1, self._pace // 10)
        healed = self._healed
        for at in range(0, len(body), piece):
            request.wfile.write(body[at : at + piece])
            request.wfile.flush()
            healed.wait(0.1)

    def _sick_layer(self, request: http.server.BaseHTTPRequestHandler, body: bytes) -> bytes:
        """What is still to be sent of a layer."""
        half = len(body) // 2
        if self._layers == "corrupt":
            return body[:-1] + bytes([body[-1] ^ 1])
        if self._layers == "hang":
            request.wfile.write(body[:half])
            request.wfile.flush()
            self._hang()
            return body[half:]
        if self._layers == "drop":
            request.wfile.write(body[:half])
            _break_off(request)
            return b""
        return body

    def _hang(self) -> None:
        healed = self._healed
        self.hangs.set()
        healed.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def push_new_image(
    address: str,
    name: str = "",
    layers: int = 1,
    size: int = 2**20,
    login: Mapping[str, str] | None = None,
    base: str = "scratch",
) -> str:
    """The reference of an image that only the registry has, with layers of so many random bytes in /layer0 and on.

    `login` is {"username": ..., "password": ...}.
    """
    images = docker.from_env().api
    repository = f"{address}/{name or uuid.uuid4().hex[:8]}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        files = {f"layer{number}": os.urandom(size) for number in range(layers)}
        dockerfile = "\n".join([f"FROM {base}", *(f"COPY {file} /" for file in files), 'CMD ["/none"]', ""])
        for path, content in {**files, "Dockerfile": dockerfile.encode()}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    error = "unable to find image"
    while "unable to find image" in error:  # Docker 20.10 loses it now and then when another one is removed meanwhile
        context.seek(0)
        told = list(images.build(fileobj=context, custom_context=True, tag=f"{repository}:1", rm=True, decode=True))
        error = told[-1].get("error", "")
    assert not error, error
    for message in images.push(repository, "1", stream=True, decode=True, auth_config=login and dict(login)):
        assert "error" not in message, message
    images.remove_image(f"{repository}:1")
    return f"{repository}:1"


def forget_image(reference: str) -> None:
    """Removes all of an image's names, by whichever registry's address it came."""
    api = docker.from_env().api
    name = reference.partition("/")[2].rpartition(":")[0]
    for image in api.images():
        for one in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
            if f"/{name}:" in one or f"/{name}@" in one:
                with suppress(docker.errors.APIError):
                    api.remove_image(one, force=True)


def forget_environments(variable: str) -> None:
    """Removes the images that were built of environments and set `variable`, a NAME=VALUE or how it begins."""
    api = docker.from_env().api
    for image in api.images("temporal-runs/environment", quiet=True):
        with suppress(docker.errors.ImageNotFound):  # another test's, that is removed meanwhile
            if any(line.startswith(variable) for line in api.inspect_image(image)["Config"]["Env"] or ()):
                api.remove_image(image, force=True)


def _hashed(password: str) -> str:
    return crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))


def _body(request: http.server.BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers of a message, without those of its connection."""
    own = ("connection", "transfer-encoding", "accept-encoding")
    return [(name, value) for name, value in headers if name.lower() not in own]


def _break_off(request: http.server.BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    with suppress(OSError):
        request.connection.shutdown(socket.SHUT_RDWR)
