"""Builds: an image is made of a Dockerfile and its context, by BuildKit or the classic builder."""

import json
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import cached_property
from typing import IO, Any

from ._connection import Connection, Refused, says_disk_full
from ._registry import registry_error
from .buildkit import build_with_buildkit, has_buildx
from .context import DOCKERFILE, Build, write_archive
from .dockerfile import Dockerfile, Instruction
from .errors import BuildFailed, EngineError, EngineUnavailable, HostDiskFull, RegistryUnavailable
from .images import ImageInfo, Images
from .interrupt import Interrupt
from .progress import Progress, Report

OUTPUT_LINES = 20
LINE_LENGTH = 2000
"""Characters of a line of output that are kept."""

ROOM_FOR_A_WRITE = 2 * 2**20
"""Bytes: a disk with less left is full."""

_STEP = re.compile(r"Step (\d+)/\d+ : (.*)")
_MADE = re.compile(r" ---> ([0-9a-f]{12})")
_ENGINE_SPEAKS = re.compile(r" ---> |Removing intermediate container [0-9a-f]{12}\s*$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""The builder paints what goes to stderr red."""
_NETWORK = ("dial tcp", "no such host", "connection refused", "connection reset", "i/o timeout", "tls handshake")
_ENGINE = (
    "context canceled",
    "cannot allocate memory",
    "failed to create endpoint",
    "input/output error",
    # Docker 20.10 loses a step's image when another image is removed meanwhile: once in 370 builds (measured).
    "unable to find image",
)
"""Said of the machine's own trouble, where no exit status is the instruction's."""


def _forgotten(_: ImageInfo) -> None: ...


class Builds:
    """The builds of one engine."""

    def __init__(self, connection: Connection, images: Images) -> None:
        self._connection = connection
        self._images = images

    def build(
        self,
        build: Build,
        tag: str,
        progress: Report,
        interrupt: Interrupt | None = None,
        made: Callable[[ImageInfo], None] = _forgotten,
    ) -> ImageInfo:
        """Builds an image; the context holds no credentials. What an instruction has made before is taken from the
        engine's cache.

        `made` is told of the image that each instruction has made: whatever becomes of the build, the engine keeps it.
        Raises BuildFailed for an instruction of the caller's, RegistryUnavailable, HostDiskFull, Interrupted.
        """
        with tempfile.TemporaryFile() as archive:
            if self.has_buildkit:
                return build_with_buildkit(self._images, build, archive, tag, progress, interrupt)
            write_archive(build, build.bases, archive)
            return self._build(build, archive, tag, progress, interrupt, made)

    @cached_property
    def has_buildkit(self) -> bool:
        """Whether builds know secrets."""
        return has_buildx()

    def _build(
        self,
        build: Build,
        archive: IO[bytes],
        tag: str,
        progress: Report,
        interrupt: Interrupt | None,
        made: Callable[[ImageInfo], None],
    ) -> ImageInfo:
        story = _Story(build.dockerfile, progress, self._has_full_disk)
        args = {**self._proxies(), **build.args}
        try:
            response = self._connection.stream(
                "POST",
                "/build",
                params={
                    "t": tag,
                    "dockerfile": DOCKERFILE,
                    "rm": True,
                    "forcerm": True,
                    "buildargs": json.dumps(args),
                },
                headers={"Content-Type": "application/tar"},
                body=archive,
                interrupt=interrupt,
            )
        except Refused as error:
            raise story.refused(str(error)) from None
        with closing(self._connection.messages(response, interrupt)) as messages:
            for message in messages:
                story.read(message)
                if story.made and (step := self._images.find_image(story.made)):
                    made(step)
        if story.image is None:
            raise EngineUnavailable(f"the Docker engine ended the build of {tag} without a result: did it restart?")
        built = self._images.find_image(story.image)
        if built is None:
            raise EngineError(f"{tag} was built and is not there: was it removed meanwhile?")
        return built

    def _has_full_disk(self) -> bool:
        """Whether the engine's disk has no room; where that cannot be seen from here, an instruction is believed."""
        root: str = self._connection.ask(lambda api: api.info())["DockerRootDir"]
        try:
            return shutil.disk_usage(root).free < ROOM_FOR_A_WRITE
        except OSError:
            return True

    def _proxies(self) -> dict[str, str]:
        """The proxies of docker's own config, as its command line passes them."""
        return self._connection.api._proxy_configs.get_environment()


class _Story:
    """One build, as its messages tell it. Output comes in pieces that know nothing of lines."""

    def __init__(self, dockerfile: Dockerfile, progress: Report, has_full_disk: Callable[[], bool]) -> None:
        self.image: str | None = None
        self.made: str | None = None
        """what the message read last says that an instruction has made"""
        self._makes = False
        """whether the step under way makes an image: a FROM does not, nor what the cache has"""
        self._has_full_disk = has_full_disk
        self._no_space = ""
        """what the instruction said when the disk was found full"""
        self._instructions = dockerfile.instructions
        self._progress = progress
        self._steps = 0
        self._output: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._rest = ""

    def read(self, message: dict[str, Any]) -> None:
        """Takes one message; raises what it tells of."""
        self.made = None
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
            return self._failed(self._instruction_at(int(found[1])), said)
        if found := re.search(rf"failed to parse {re.escape(DOCKERFILE)}: (\w*)", said):
            return self._failed(self._instruction_of(found[1]), said)
        if says_disk_full(said):
            return HostDiskFull(said)
        return EngineError(f"the engine refused the build: {said}")

    def _line(self, line: str) -> None:
        line = _COLOUR.sub("", line).rstrip()[:LINE_LENGTH]
        if (found := _STEP.fullmatch(line)) and int(found[1]) == self._steps + 1:
            self._steps += 1
            self._output.clear()
            self._no_space = ""
            self._makes = bool(self._instruction and self._instruction.keyword != "FROM")
        elif not line:
            return
        elif line == " ---> Using cache":
            self._makes = False
        elif self._makes and (found := _MADE.fullmatch(line)):
            self.made = found[1]
        elif not _ENGINE_SPEAKS.match(line):
            self._output.append(line)
            # The disk is looked at now: once the instruction has failed, what it has written is gone.
            if says_disk_full(line) and not self._no_space and self._has_full_disk():
                self._no_space = line
        self._progress(Progress(line, instruction=str(self._instruction or "")))

    def _failure(self, said: str, detail: dict[str, Any]) -> EngineError:
        if says_disk_full(said):
            return HostDiskFull(f"no space while an image was built: {said}")
        instruction = self._instruction
        if self._no_space:
            return HostDiskFull(f"no space for {instruction}: {self._no_space}")
        if found := re.match(r"(?:invalid from flag value|pull access denied for) ([^\s,]+)", said):
            return registry_error(found[1].rstrip(":"), "pulled", said)
        if instruction and instruction.keyword == "FROM":
            return EngineError(f"the base of {instruction} is no more on the machine: was it removed meanwhile? {said}")
        words = said.lower()
        if "code" not in detail and any(phrase in words for phrase in _NETWORK):
            return RegistryUnavailable(f"{instruction} could not reach the network: {said}")
        if "code" not in detail and any(phrase in words for phrase in _ENGINE):
            return EngineError(f"the engine could not carry out {instruction}: {said}")
        return self._failed(instruction, "\n".join([*self._output, said]))

    @property
    def _instruction(self) -> Instruction | None:
        """The one that is carried out."""
        return self._instructions[max(self._steps, 1) - 1] if self._instructions else None

    def _failed(self, instruction: Instruction | None, output: str) -> BuildFailed:
        return BuildFailed(str(instruction or ""), instruction.line if instruction else 1, output)

    def _instruction_at(self, line: int) -> Instruction | None:
        return next((one for one in self._instructions if line <= one.last_line), None)

    def _instruction_of(self, keyword: str) -> Instruction | None:
        """The first with that keyword, where the engine tells no line."""
        return next((one for one in self._instructions if one.keyword == keyword.upper()), None)
