"""Images: found on the machine, pulled, pushed, tagged, removed.

The engine reports a failed pull or push inside a stream that began with 200 OK: it is read to its end.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import urllib3.exceptions

from ._connection import Connection, Refused
from ._registry import registry_error, split_reference
from .credentials import Credentials, identity
from .errors import EngineUnavailable, ImageNotFound, RegistryUnavailable
from .interrupt import Interrupt
from .progress import Layers, Report

LOOKUP_SECONDS = 10
"""How long a registry may think about which digest a tag has."""


@dataclass(frozen=True)
class ImageInfo:
    """An image on the machine: its id, the digests ("name@sha256:...") by which registries know it, and its bytes."""

    id: str
    digests: tuple[str, ...]
    size: int = 0


@dataclass(frozen=True)
class ListedImage:
    """An image on the machine, as a list shows it. `in_use`: by a container, running or not."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    in_use: bool


class Images:
    """The images of one engine. References are `[host[:port]/]name[:tag][@digest]`, for the machine also ids.

    Without credentials a registry is asked with what docker's own config and credential helpers hold for it.
    """

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
        return ImageInfo(found["Id"], tuple(found.get("RepoDigests") or ()), found["Size"])

    def images(self) -> list[ListedImage]:
        """All images of the machine, without those that are only steps of a build."""
        listed: list[dict[str, Any]] = self._connection.ask(lambda api: api.images())
        used = self._images_of_containers()
        return [
            ListedImage(
                one["Id"],
                tuple(tag for tag in one["RepoTags"] or () if not tag.startswith("<none>")),
                tuple(digest for digest in one["RepoDigests"] or () if not digest.startswith("<none>")),
                one["Size"],
                one["Id"] in used,
            )
            for one in listed
        ]

    def digest(self, reference: str, credentials: Credentials | None = None, within: float = LOOKUP_SECONDS) -> str:
        """The digest ("sha256:...") that a reference has in its registry now, which also tells who may pull it.

        Raises ImageNotFound, RegistryUnavailable; the latter also where no answer came `within` so many seconds.
        """
        me = identity(self._connection, reference, credentials)
        path = "/distribution/{0}/json"
        try:
            response = self._connection.stream("GET", path, reference, headers=me.headers, timeout=within)
            with closing(self._connection.messages(response)) as messages:
                return next(messages)["Descriptor"]["digest"]
        except (ImageNotFound, Refused) as error:
            raise registry_error(reference, "looked up", str(error), me.user) from None
        except EngineUnavailable as error:
            if not isinstance(error.__cause__, (TimeoutError, urllib3.exceptions.TimeoutError)):
                raise
            self._connection.ping()  # else it is the engine that does not answer
            raise RegistryUnavailable(f"the registry of {reference} did not answer within {within:g} s") from None

    def in_registry(self, reference: str, credentials: Credentials | None = None) -> bool:
        """Whether the reference's registry has it; raises RegistryUnavailable."""
        try:
            self.digest(reference, credentials)
        except ImageNotFound:
            return False
        return True

    def pull(
        self,
        reference: str,
        progress: Report,
        credentials: Credentials | None = None,
        interrupt: Interrupt | None = None,
    ) -> ImageInfo:
        """Fetches an image; raises ImageNotFound, RegistryUnavailable, HostDiskFull, Interrupted."""
        name, tag = split_reference(reference)
        params = {"fromImage": name, "tag": tag}
        self._transfer("/images/create", (), params, reference, "pulled", progress, credentials, interrupt)
        found = self.find_image(f"{name}@{tag}" if ":" in tag else f"{name}:{tag}")
        if found is None:
            raise RegistryUnavailable(f"{reference} was pulled and is not on the machine: was it removed meanwhile?")
        return found

    def push(
        self,
        reference: str,
        progress: Report,
        credentials: Credentials | None = None,
        interrupt: Interrupt | None = None,
    ) -> None:
        """Uploads an image; raises RegistryUnavailable, Interrupted, and ImageNotFound where the machine has none."""
        name, tag = split_reference(reference)
        params = {"tag": tag}
        self._transfer("/images/{0}/push", (name,), params, reference, "pushed", progress, credentials, interrupt)

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

    def discard_image(self, image: str) -> bool:
        """Removes the image of an id with all its names; gives back whether it is gone.

        One that any container uses, running or not, or that another image was built on, stays with its names.
        """
        try:
            found = self._connection.ask(lambda api: api.inspect_image(image))
        except ImageNotFound:
            return True
        listed: list[dict[str, Any]] = self._connection.ask(lambda api: api.images(all=True))
        if image in self._images_of_containers() or any(one["ParentId"] == image for one in listed):
            return False
        # By its names, since by its id the engine removes an image of several only with force, and that spares no
        # container that has ended.
        for name in [*(found["RepoTags"] or ()), *(found["RepoDigests"] or ())] or [image]:
            try:
                self._connection.ask(lambda api, name=name: api.remove_image(name))
            except ImageNotFound:
                continue  # a repository's digests go with its last tag
            except Refused as error:
                if error.status == 409:  # a container was made of it meanwhile
                    return False
                raise
        return self.find_image(image) is None

    def _images_of_containers(self) -> set[str]:
        return {one["ImageID"] for one in self._connection.ask(lambda api: api.containers(all=True))}

    def _transfer(
        self,
        path: str,
        arguments: Iterable[str],
        params: dict[str, str],
        reference: str,
        doing: str,
        progress: Report,
        credentials: Credentials | None,
        interrupt: Interrupt | None,
    ) -> None:
        me = identity(self._connection, reference, credentials)
        layers = Layers()
        try:
            response = self._connection.stream(
                "POST", path, *arguments, params=params, headers=me.headers, interrupt=interrupt
            )
        except (ImageNotFound, Refused) as error:
            raise registry_error(reference, doing, str(error), me.user) from None
        with closing(self._connection.messages(response, interrupt)) as messages:
            for message in messages:
                if "error" in message:
                    raise registry_error(reference, doing, message["error"], me.user)
                progress(layers.read(message))
