"""Builds: an image is made of a Dockerfile and its context, by the classic builder. Who is to blame is told here."""

import io
import json
import re
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, Literal

from ._connection import CHUNK, Connection, Refused, says_disk_full
from ._registry import registry_error
from .dockerfile import Dockerfile, Instruction
from .errors import BuildFailed, EngineError, EngineUnavailable, HostDiskFull, RegistryUnavailable
from .images import ImageInfo, Images
from .interrupt import Interrupt
from .progress import Progress, Report

DOCKERFILE = ".temporal-runs/Dockerfile"
"""Where it is in the context, out of the way of the caller's own files."""

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


@dataclass(frozen=True)
class ContextFile:
    """A file, folder or link of a build's context; `path` in bytes, below the context. Owned by root in the image."""

    path: bytes
    kind: Literal["file", "folder", "link"]
    executable: bool = False
    size: int = 0
    link: bytes = b""
    content: Iterable[bytes] = ()

    @classmethod
    def of(cls, path: str, text: str) -> "ContextFile":
        """A file that holds a text."""
        data = text.encode()
        return cls(path.encode(), "file", size=len(data), content=[data])


@dataclass(frozen=True)
class Build:
    """What an image is made of. `bases`: for each base of the Dockerfile, the id of an image on the machine."""

    dockerfile: Dockerfile
    bases: Mapping[str, str]
    context: Iterable[ContextFile] = ()
    args: Mapping[str, str] = field(default_factory=dict[str, str])


class Builds:
    """The builds of one engine."""

    def __init__(self, connection: Connection, images: Images) -> None:
        self._connection = connection
        self._images = images

    def build(self, build: Build, tag: str, progress: Report, interrupt: Interrupt | None = None) -> ImageInfo:
        """Builds an image; the context holds no credentials. What an instruction has made before is taken from the
        engine's cache.

        Raises BuildFailed for an instruction of the caller's, RegistryUnavailable, HostDiskFull, Interrupted.
        """
        story = _Story(build.dockerfile, progress)
        args = {**self._proxies(), **build.args}
        with tempfile.TemporaryFile() as archive:
            _write_archive(build, archive)
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
        if story.image is None:
            raise EngineUnavailable(f"the Docker engine ended the build of {tag} without a result: did it restart?")
        built = self._images.find_image(story.image)
        if built is None:
            raise EngineError(f"{tag} was built and is not there: was it removed meanwhile?")
        return built

    def _proxies(self) -> dict[str, str]:
        """The proxies of docker's own config, as its command line passes them."""
        return self._connection.api._proxy_configs.get_environment()


class _Story:
    """One build, as its messages tell it. Output comes in pieces that know nothing of lines."""

    def __init__(self, dockerfile: Dockerfile, progress: Report) -> None:
        self.image: str | None = None
        self._instructions = dockerfile.instructions
        self._progress = progress
        self._steps = 0
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
        elif not line:
            return
        elif not _ENGINE_SPEAKS.match(line):
            self._output.append(line)
        self._progress(Progress(line))

    def _failure(self, said: str, detail: dict[str, Any]) -> EngineError:
        if says_disk_full(said):
            return HostDiskFull(f"no space while an image was built: {said}")
        instruction = self._instructions[max(self._steps, 1) - 1] if self._instructions else None
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

    def _failed(self, instruction: Instruction | None, output: str) -> BuildFailed:
        return BuildFailed(str(instruction or ""), instruction.line if instruction else 1, output)

    def _instruction_at(self, line: int) -> Instruction | None:
        return next((one for one in self._instructions if line <= one.last_line), None)

    def _instruction_of(self, keyword: str) -> Instruction | None:
        """The first with that keyword, where the engine tells no line."""
        return next((one for one in self._instructions if one.keyword == keyword.upper()), None)


def _write_archive(build: Build, archive: IO[bytes]) -> None:
    """The context as a tar archive, with the Dockerfile in it; the engine is never to pull a base by itself."""
    dockerfile = ContextFile.of(DOCKERFILE, build.dockerfile.pinned(build.bases))
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for file in chain(build.context, [dockerfile]):
            entry = tarfile.TarInfo(file.path.decode(errors="surrogateescape"))
            entry.type = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}[file.kind]
            entry.mode = 0o755 if file.executable or file.kind == "folder" else 0o644
            entry.linkname = file.link.decode(errors="surrogateescape")
            entry.size = file.size
            tar.addfile(entry, io.BufferedReader(_Pieces(iter(file.content)), CHUNK))
    archive.seek(0)


class _Pieces(io.RawIOBase):
    """A file to be read, of a content that comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
