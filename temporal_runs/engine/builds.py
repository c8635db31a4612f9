"""Builds: a base image with Dockerfile lines on top, by the engine's classic builder. Who is to blame is told here."""

import io
import json
import re
import tarfile
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ._connection import Connection, Refused, says_disk_full
from ._registry import registry_error
from .errors import BuildFailed, EngineError, EngineUnavailable, HostDiskFull, RegistryUnavailable
from .images import ImageInfo, Images
from .interrupt import Interrupt
from .progress import Progress, Report

OUTPUT_LINES = 20
LINE_LENGTH = 2000
"""Characters of a line of output that are kept."""

_STEP = re.compile(r"Step (\d+)/\d+ : (.*)")
_ENGINE_SPEAKS = re.compile(r" ---> |Removing intermediate container [0-9a-f]{12}\s*$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""The builder paints what goes to stderr red."""

_NETWORK = ("dial tcp", "no such host", "connection refused", "connection reset", "i/o timeout", "tls handshake")
_ENGINE = ("context canceled", "cannot allocate memory", "failed to create endpoint", "input/output error")
"""Said of the machine's own trouble, where no exit status is the instruction's."""


class Builds:
    """The builds of one engine."""

    def __init__(self, connection: Connection, images: Images) -> None:
        self._connection = connection
        self._images = images

    def build(
        self,
        base: str,
        instructions: Sequence[str],
        tag: str,
        progress: Report,
        interrupt: Interrupt | None = None,
    ) -> ImageInfo:
        """Builds `FROM base` with Dockerfile lines on top; the context holds nothing but these, and no credentials.

        Raises BuildFailed for an instruction of the caller's, and whatever `pull` raises for the base.
        """
        found = self._images.find_image(base) or self._images.pull(base, progress, interrupt=interrupt)
        # By its id, so that the engine never pulls a base of its own accord.
        dockerfile = "\n".join([f"FROM {found.id}", *instructions, ""])
        build = _Build(base, instructions, progress)
        try:
            response = self._connection.stream(
                "POST",
                "/build",
                params={"t": tag, "rm": True, "forcerm": True, "buildargs": json.dumps(self._proxies())},
                headers={"Content-Type": "application/tar"},
                body=_context(dockerfile),
                interrupt=interrupt,
            )
        except Refused as error:
            raise build.refused(str(error)) from None
        with closing(self._connection.messages(response, interrupt)) as messages:
            for message in messages:
                build.read(message)
        if build.image is None:
            raise EngineUnavailable(f"the Docker engine ended the build of {tag} without a result: did it restart?")
        built = self._images.find_image(build.image)
        if built is None:
            raise EngineError(f"{tag} was built and is not there: was it removed meanwhile?")
        return built

    def _proxies(self) -> dict[str, str]:
        """The proxies of docker's own config, as its command line passes them."""
        return self._connection.api._proxy_configs.get_environment()


class _Build:
    """One build, as its messages tell it. Output comes in pieces that know nothing of lines."""

    def __init__(self, base: str, instructions: Sequence[str], progress: Report) -> None:
        self.image: str | None = None
        self._base = base
        self._instructions = instructions
        self._progress = progress
        self._steps = 0
        self._instruction = ""
        self._output: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._rest = ""

    def read(self, message: dict[str, Any]) -> None:
        """Takes one message; raises what it tells of."""
        if "error" in message:
            self._line(self._rest)
            raise self._failure(message["error"], message.get("errorDetail") or {})
        if aux := message.get("aux"):
            self.image = aux["ID"]
        text: str = message.get("stream", "")
        if self._rest and (_STEP.match(text) or _ENGINE_SPEAKS.match(text)):
            # The engine does not end a line that the instruction has not ended.
            text = f"\n{text}"
        *lines, rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)
        self._rest = rest[:LINE_LENGTH]

    def refused(self, said: str) -> EngineError:
        """The error for a build that the engine did not begin: a Dockerfile that it cannot parse, mostly."""
        if found := re.search(r"parse error (?:on )?line (\d+)", said, re.IGNORECASE):
            step = self._step_at(int(found[1]))
        elif found := re.search(r"failed to parse Dockerfile: (\w*)", said):
            step = self._step_of(found[1])
        elif says_disk_full(said):
            return HostDiskFull(said)
        else:
            return EngineError(f"the engine refused the build: {said}")
        return BuildFailed(self._instructions[step - 1], step, said)

    def _line(self, line: str) -> None:
        line = _COLOUR.sub("", line).rstrip()[:LINE_LENGTH]
        if (found := _STEP.fullmatch(line)) and int(found[1]) == self._steps + 1:
            self._steps, self._instruction = self._steps + 1, found[2]
            self._output.clear()
        elif not line:
            return
        elif not _ENGINE_SPEAKS.match(line):
            self._output.append(line)
        self._progress(Progress(line))

    def _failure(self, said: str, detail: dict[str, Any]) -> EngineError:
        if says_disk_full(said):
            return HostDiskFull(f"no space while an image was built: {said}")
        if self._steps < 2:
            return registry_error(self._base, "pulled", said)
        words = said.lower()
        if "code" not in detail and (image := re.match(r"invalid from flag value (\S+):", said)):
            return registry_error(image[1], "pulled", said)
        if "code" not in detail and any(phrase in words for phrase in _NETWORK):
            return RegistryUnavailable(f"{self._instruction} could not reach the network: {said}")
        if "code" not in detail and any(phrase in words for phrase in _ENGINE):
            return EngineError(f"the engine could not carry out {self._instruction}: {said}")
        # The first step is FROM, which is not the caller's.
        return BuildFailed(self._instruction, self._steps - 1, "\n".join([*self._output, said]))

    def _step_at(self, line: int) -> int:
        """The caller's instruction at a line of the Dockerfile, whose first line is FROM."""
        last = 1
        for step, instruction in enumerate(self._instructions, 1):
            last += instruction.count("\n") + 1
            if line <= last:
                return step
        return len(self._instructions)

    def _step_of(self, keyword: str) -> int:
        """The first of the caller's instructions with that keyword, where the engine tells no line."""
        keywords = [
            instruction.split(maxsplit=1)[0].upper() for instruction in self._instructions if instruction.strip()
        ]
        return keywords.index(keyword.upper()) + 1 if keyword.upper() in keywords else 1


def _context(dockerfile: str) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        content = dockerfile.encode()
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
