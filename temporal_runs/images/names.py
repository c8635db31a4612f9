"""Names of images, as Docker reads and writes them."""

import re

from temporal_runs.engine import ImageInfo

_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


def is_id(reference: str) -> bool:
    """Whether it is the id of an image on the machine, and no name."""
    return _ID.fullmatch(reference) is not None


def is_pinned(reference: str) -> bool:
    """Whether what it means cannot move."""
    return "@" in reference or is_id(reference)


def is_of_docker_hub(reference: str) -> bool:
    """Whether a name without a registry's host, or with that one's, stands for it."""
    first, slash, _ = reference.partition("/")
    return not slash or first == "docker.io" or not (first == "localhost" or "." in first or ":" in first)


def repository(reference: str) -> str:
    """A name without its tag and digest."""
    name = reference.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def familiar(reference: str) -> str:
    """A name as the engine lists it: without Docker Hub's host, with a tag or digest."""
    name = reference.removeprefix("docker.io/").removeprefix("library/")
    return name if "@" in name or repository(name) != name else f"{name}:latest"


def pinned(reference: str, found: ImageInfo) -> str:
    """An image of the machine by what cannot move: its digest where a registry knows it, else its id."""
    if is_id(reference):
        return found.id
    name = repository(reference)
    digests = (digest for digest in found.digests if digest.startswith(f"{repository(familiar(name))}@"))
    return next(digests, f"{name}@{found.id}")
