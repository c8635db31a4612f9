"""Images: found on the machine, pulled, built, pushed. The engine reports failures inside its streams: they are read."""

import io
import json
import re
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ._connection import says_disk_full, translated
from .errors import BuildFailed, EngineError, HostDiskFull, ImageNotFound, InvalidContainer, RegistryUnavailable

OUTPUT_LINES = 20

_NOT_THERE = ("manifest unknown", "not found", "no such image", "does not exist", "name unknown", "name invalid")
_REFUSED = ("unauthorized", "authentication required", "denied: ", "no basic auth", "toomanyrequests")


@dataclass(frozen=True)
class ImageInfo:
    """An image on the machine: its id, and the digests by which registries know it."""

    id: str
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How far a pull, build or push is; bytes, 0 where unknown."""

    text: str
    current: int = 0
    total: int = 0


Report = Callable[[Progress], None]


class Images:
    """The images of one engine."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def find_image(self, reference: str) -> ImageInfo | None:
        """The image of that tag, digest or id, where the machine has it. No registry is asked."""
        try:
            with translated():
                found = self._api.inspect_image(reference)
        except ImageNotFound:
            return None
        return ImageInfo(found["Id"], tuple(found.get("RepoDigests") or ()))

    def in_registry(self, reference: str) -> bool:
        """Whether the reference's registry has it; raises RegistryUnavailable."""
        try:
            with translated():
                self._api.inspect_distribution(reference)
        except (ImageNotFound, InvalidContainer) as error:
            raised = _registry_error(reference, str(error))
            if isinstance(raised, ImageNotFound):
                return False
            raise raised from None
        return True

    def pull(self, reference: str, progress: Report) -> ImageInfo:
        """Fetches an image; raises ImageNotFound, RegistryUnavailable, HostDiskFull."""
        name, tag = _split(reference)
        try:
            with translated():
                stream = self._api.pull(name, tag=tag, stream=True, decode=True)
                for message in stream:
                    if "error" in message:
                        raise _registry_error(reference, message["error"])
                    progress(_layer(message))
        except (ImageNotFound, InvalidContainer) as error:
            raise _registry_error(reference, str(error)) from None
        found = self.find_image(reference)
        if found is None:
            raise RegistryUnavailable(f"{reference} was pulled and is not there: was it removed meanwhile?")
        return found

    def push(self, reference: str, progress: Report) -> None:
        """Uploads an image; raises RegistryUnavailable."""
        name, tag = _split(reference)
        try:
            with translated():
                for message in self._api.push(name, tag=tag, stream=True, decode=True):
                    if "error" in message:
                        raise RegistryUnavailable(f"{reference} could not be pushed: {message['error']}")
                    progress(_layer(message))
        except InvalidContainer as error:
            raise RegistryUnavailable(f"{reference} could not be pushed: {error}") from None

    def build(self, base: str, instructions: Sequence[str], tag: str, progress: Report) -> ImageInfo:
        """Builds `FROM base` with Dockerfile lines on top; the context holds nothing but these.

        Raises BuildFailed for an instruction of the caller's, and whatever `pull` raises for the base.
        """
        if self.find_image(base) is None:
            self.pull(base, progress)
        dockerfile = "\n".join([f"FROM {base}", *instructions, ""])
        output: deque[str] = deque(maxlen=OUTPUT_LINES)
        step, instruction = 0, ""
        with translated():
            stream = self._api.build(
                fileobj=_context(dockerfile), custom_context=True, tag=tag, rm=True, forcerm=True, decode=True
            )
            for message in _objects(stream):
                if "error" in message:
                    raise _build_error(message["error"], instruction, step, output)
                for line in message.get("stream", "").splitlines():
                    if found := re.match(r"Step (\d+)/\d+ : (.*)", line):
                        # Step 1 is FROM, which is not the caller's.
                        step, instruction = int(found[1]) - 1, found[2]
                    elif line.strip():
                        output.append(line)
                    progress(Progress(f"{instruction}: {line}" if line != instruction else line))
        found = self.find_image(tag)
        if found is None:
            raise EngineError(f"{tag} was built and is not there: was it removed meanwhile?")
        return found

    def remove_image(self, reference: str) -> None:
        """Removes a tag, and the image with its last one; one that is not there is fine."""
        try:
            with translated():
                self._api.remove_image(reference, force=True)
        except ImageNotFound:
            pass


def _context(dockerfile: str) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        content = dockerfile.encode()
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def _objects(stream: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for message in stream:
        yield json.loads(message) if isinstance(message, str | bytes) else message


def _split(reference: str) -> tuple[str, str | None]:
    """docker-py takes the tag apart from the name, and a digest as a tag."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")


def _layer(message: dict[str, Any]) -> Progress:
    detail = message.get("progressDetail") or {}
    layer = f"{message['id']}: " if message.get("id") else ""
    return Progress(f"{layer}{message.get('status', '')}", detail.get("current") or 0, detail.get("total") or 0)


def _registry_error(reference: str, said: str) -> EngineError:
    text = " ".join(said.split())
    if says_disk_full(text):
        return HostDiskFull(f"no space to pull {reference}: {text}")
    if any(phrase in text.lower() for phrase in _REFUSED) and "requested access to the resource" not in text:
        return RegistryUnavailable(f"the registry refuses {reference}: {text}")
    if any(phrase in text.lower() for phrase in _NOT_THERE):
        return ImageNotFound(f"there is no image {reference}: {text}")
    return RegistryUnavailable(f"{reference} could not be had from its registry: {text}")


def _build_error(said: str, instruction: str, step: int, output: Iterable[str]) -> EngineError:
    if says_disk_full(said):
        return HostDiskFull(said)
    if step < 1:
        return _registry_error(instruction.removeprefix("FROM "), said)
    return BuildFailed(instruction, step, "\n".join([*output, said]))


