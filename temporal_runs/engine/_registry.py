"""What a registry's answer means: engines pass it on as text, so this is where their words are known."""

import re

from ._retry_after import retry_after, split_host
from .errors import CredentialsRefused, EngineError, HostDiskFull, ImageNotFound, RegistryUnavailable

_NOT_THERE = (
    "manifest unknown",
    "name unknown",
    "name invalid",
    "invalid reference format",
    "invalid repository name",
    "no such image",
    "no matching manifest for",
    "does not match the specified platform",
    "image does not exist locally",
)
"""Said of an image or a tag."""

_REFUSED = ("unauthorized", "authentication required", "no basic auth", "denied", "forbidden")

_NOT_WHAT_IT_SAYS = (
    "filesystem layer verification failed",
    "digest did not match",
    "unexpected commit digest",
    "failed size validation",
    "does not match digest",
)
"""Said of a layer or manifest, by engines of several ages."""

_STATUS = re.compile(r"(?:http status:|parsing http|status from \w+ request to \S+:|status code \[[^\]]*\]:) (\d{3})\b")
_BUSY = ("toomanyrequests", "too many requests", "service unavailable")


def registry_error(reference: str, doing: str, said: str, user: str = "anonymous") -> EngineError:
    """The error for what an engine said while it was `doing` ("pulled", ...) something with a reference as a user.

    Asks the registry when it wants to be tried again, where it was busy.
    """
    text = " ".join(said.split())
    words = text.lower()
    told = _STATUS.search(words)
    status = int(told[1]) if told else 0
    registry, _ = split_host(split_reference(reference)[0])
    if "no space left on device" in words and not status:
        return HostDiskFull(f"no space while {reference} was {doing}: {text}")
    # Docker Hub says "repository does not exist or may require 'docker login'" of both: to nobody it means the first.
    if any(phrase in words for phrase in _NOT_THERE) or ("does not exist or may" in words and user == "anonymous"):
        return ImageNotFound(f"there is no image {reference}: {text}", reference)
    if any(phrase in words for phrase in _NOT_WHAT_IT_SAYS):
        return RegistryUnavailable(f"{registry} sent something else than {reference} is made of: {text}")
    if status in (401, 403) or any(phrase in words for phrase in _REFUSED):
        return CredentialsRefused(f"the registry {registry} refused {reference} to {user}: {text}")
    busy = status in (429, 503) or any(phrase in words for phrase in _BUSY)
    wait = retry_after(*split_reference(reference)) if busy else None
    return RegistryUnavailable(f"{reference} could not be {doing}: {text}", wait)


def split_reference(reference: str) -> tuple[str, str]:
    """Name, and tag or digest; "latest" where it has neither."""
    name, at, digest = reference.partition("@")
    if at:
        head, colon, tag = name.rpartition(":")
        return (head if colon and "/" not in tag else name), digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")
