"""Images: found on the machine, pulled, pushed, tagged, removed.

The engine reports a failed pull or push inside a stream that began with 200 OK: it is read to its end.
"""

import base64
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import docker.auth
import docker.errors

from ._connection import Connection, Refused
from ._registry import registry_error, split_reference
from .errors import ImageNotFound, RegistryUnavailable

_NO_CREDENTIALS = base64.urlsafe_b64encode(b"{}").decode()


@dataclass(frozen=True)
class ImageInfo:
    """An image on the machine: its id, and the digests ("name@sha256:...") by which registries know it."""

    id: str
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How far a pull, build or push is; bytes of the layer it speaks of, 0 where unknown."""

    text: str
    current: int = 0
    total: int = 0


Report = Callable[[Progress], None]
"""Called for every step. What it raises ends the work: the connection is closed, and the engine gives up."""


class Images:
    """The images of one engine. References are `[host[:port]/]name[:tag][@digest]`, for the machine also ids."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find_image(self, reference: str) -> ImageInfo | None:
        """The image of that tag, digest or id, where the machine has it. No registry is asked."""
        try:
            found = self._connection.ask(lambda api: api.inspect_image(reference))
        except ImageNotFound:
            return None
        except Refused as error:
            if error.status in (400, 404):  # not even a reference
                return None
            raise
        return ImageInfo(found["Id"], tuple(found.get("RepoDigests") or ()))

    def in_registry(self, reference: str) -> bool:
        """Whether the reference's registry has it; raises RegistryUnavailable."""
        headers = {"X-Registry-Auth": self._credentials(reference)}
        try:
            self._connection.stream("GET", "/distribution/{0}/json", reference, headers=headers, timeout=60).close()
        except (ImageNotFound, Refused) as error:
            raised = registry_error(reference, "looked up", str(error))
            if isinstance(raised, ImageNotFound):
                return False
            raise raised from None
        return True

    def pull(self, reference: str, progress: Report) -> ImageInfo:
        """Fetches an image; raises ImageNotFound, RegistryUnavailable, HostDiskFull."""
        name, tag = split_reference(reference)
        params = {"fromImage": name, "tag": tag}
        self._transfer("/images/create", (), params, reference, "pulled", progress)
        found = self.find_image(f"{name}@{tag}" if ":" in tag else f"{name}:{tag}")
        if found is None:
            raise RegistryUnavailable(f"{reference} was pulled and is not on the machine: was it removed meanwhile?")
        return found

    def push(self, reference: str, progress: Report) -> None:
        """Uploads an image; raises RegistryUnavailable, and ImageNotFound where the machine does not have it."""
        name, tag = split_reference(reference)
        self._transfer("/images/{0}/push", (name,), {"tag": tag}, reference, "pushed", progress)

    def tag_image(self, reference: str, tag: str) -> None:
        """Gives an image of the machine one more name; raises ImageNotFound."""
        name, version = split_reference(tag)
        self._connection.ask(lambda api: api.tag(reference, name, version))

    def remove_image(self, reference: str) -> None:
        """Removes a tag, and the image with its last one; one that is not there is fine. A container's image stays."""
        try:
            self._connection.ask(lambda api: api.remove_image(reference, force=True))
        except ImageNotFound:
            pass
        except Refused as error:
            if error.status != 409:
                raise

    def _transfer(
        self,
        path: str,
        arguments: Iterable[str],
        params: dict[str, str],
        reference: str,
        doing: str,
        progress: Report,
    ) -> None:
        headers = {"X-Registry-Auth": self._credentials(reference)}
        try:
            response = self._connection.stream("POST", path, *arguments, params=params, headers=headers)
        except (ImageNotFound, Refused) as error:
            raise registry_error(reference, doing, str(error)) from None
        with closing(self._connection.messages(response)) as messages:
            for message in messages:
                if "error" in message:
                    raise registry_error(reference, doing, message["error"])
                progress(_layer(message))

    def _credentials(self, reference: str) -> str:
        """What docker's own config and credential helpers hold for the reference's registry."""
        api = self._connection.api
        auth = cast(Any, docker.auth)  # not typed
        try:
            api.reload_config()  # somebody may have logged in since
            registry, _ = auth.resolve_repository_name(split_reference(reference)[0])
            header = auth.get_config_header(api, registry)
        except docker.errors.InvalidRepository:
            raise ImageNotFound(f"{reference!r} is no reference of an image", reference) from None
        except docker.errors.DockerException as error:
            raise RegistryUnavailable(f"no credentials for {reference} from docker's helper: {error}") from error
        return header or _NO_CREDENTIALS


def _layer(message: dict[str, Any]) -> Progress:
    detail: dict[str, int] = message.get("progressDetail") or {}
    layer = f"layer {message['id']} " if message.get("id") else ""
    status: str = message.get("status", "")
    text = f"{layer}{status[:1].lower() + status[1:]}" if layer else status
    return Progress(text, detail.get("current") or 0, detail.get("total") or 0)
