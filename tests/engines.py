"""A second Docker engine beside the machine's, for what nobody may do to that one: kill it, fill its disk."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import docker.errors

from tests.conftest import eventually


class EngineOfItsOwn:
    """Lives in a folder of a short path, since its sockets are in there. It reaches registries on 127.0.0.1."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.address = f"unix://{folder}/docker.sock"
        self._data = folder / "data"
        self._namespace = folder / "exec" / "netns" / "default"
        self._pid_files = folder / "pid", folder / "exec" / "containerd" / "containerd.pid"
        self._log = folder / "log"
        # Without a bridge of its own it takes docker0, which is the machine's, and without any it deletes that.
        self._bridge = f"tr{uuid.uuid4().hex[:8]}"
        self._command = [
            *("dockerd", "--data-root", f"{self._data}", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"),
            *("-H", self.address, f"--bridge={self._bridge}", "--iptables=false", "--ip-forward=false"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> docker.DockerClient:
        """Returns when it answers."""
        self._launch()
        return await eventually(self._client)

    def end(self, sign: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(sign)
        self._process.wait(60)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It takes calls, and answers none."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def pull_the_plug(self) -> None:
        """Kills it with all of its containers, as when its machine dies."""
        assert self._process
        shims = [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_shim(path)]
        self.end(signal.SIGKILL)
        for pid in (*(child for shim in shims for child in _children(shim)), *shims):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_shim(self, process: Path) -> bool:
        with suppress(OSError):
            command = (process / "cmdline").read_text()
            return "containerd-shim" in command and str(self._namespace.parents[1]) in command
        return False

    def remove(self) -> None:
        """Ends it, and takes away what it has put on the machine outside of its folder."""
        if self._process is None:
            return
        self.end(signal.SIGTERM)
        # Each start mounts the engine's folder on itself, and a kill leaves that.
        for mounted in (self._data, self._namespace):
            while subprocess.run(["umount", mounted], stderr=subprocess.DEVNULL).returncode == 0:
                pass
        subprocess.run(["ip", "link", "delete", self._bridge], check=True)

    def _launch(self) -> None:
        if self._process is None:
            subprocess.run(["ip", "link", "add", self._bridge, "type", "bridge"], check=True)
        for file in self._pid_files:
            # Left by a kill, and taken for those of processes that live.
            file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def _client(self) -> docker.DockerClient | None:
        with suppress(docker.errors.DockerException):
            client = docker.DockerClient(self.address, timeout=60)
            client.ping()
            return client
        return None


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
