"""What a registry's answer means: engines pass it on as text, so this is where their words are known."""

from .errors import EngineError, HostDiskFull, ImageNotFound, RegistryUnavailable

_NOT_THERE = (
    "manifest unknown",
    "name unknown",
    "name invalid",
    "invalid reference format",
    "invalid repository name",
    "repository does not exist",
    "no such image",
    "no matching manifest for",
    "does not match the specified platform",
    "image does not exist locally",
)
"""Said of an image or a tag. Docker Hub says "repository does not exist or may require 'docker login'" of both."""

_REFUSED = ("unauthorized", "authentication required", "no basic auth", "access to the resource is denied", "forbidden")


def registry_error(reference: str, doing: str, said: str) -> EngineError:
    """The error for what an engine said while it was `doing` ("pulled", ...) something with a reference."""
    text = " ".join(said.split())
    words = text.lower()
    if "no space left on device" in words and "received unexpected http status" not in words:
        return HostDiskFull(f"no space while {reference} was {doing}: {text}")
    if any(phrase in words for phrase in _NOT_THERE):
        return ImageNotFound(f"there is no image {reference}: {text}", reference)
    if any(phrase in words for phrase in _REFUSED):
        return RegistryUnavailable(f"the registry of {reference} refused our credentials: {text}")
    return RegistryUnavailable(f"{reference} could not be {doing}: {text}")


def split_reference(reference: str) -> tuple[str, str]:
    """Name, and tag or digest; "latest" where it has neither."""
    name, at, digest = reference.partition("@")
    if at:
        head, colon, tag = name.rpartition(":")
        return (head if colon and "/" not in tag else name), digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")
