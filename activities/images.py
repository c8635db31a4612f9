"""Which image an environment means: its reference, and where it is to be had."""

import structlog
from blake3 import blake3

from temporal_runs.engine import Engine, ImageInfo, RegistryUnavailable
from temporal_runs.environment import Environment
from temporal_runs.steps import Image, ImageSearch

log = structlog.get_logger()

REPOSITORY = "temporal-runs/environment"


def built_reference(environment: Environment, base: ImageInfo, registry: str | None) -> str:
    """The tag of a built environment: a hash of all that decides its content, so that equal environments share it."""
    content = "\n".join([base.id, *environment.instructions]).encode()
    name = f"{REPOSITORY}:{blake3(content).hexdigest()[:32]}"
    return f"{registry}/{name}" if registry else name


def on_machine(engine: Engine, environment: Environment, registry: str | None) -> Image | None:
    """The environment's image, where the machine has it; no registry is asked."""
    if environment.image:
        found = engine.find_image(environment.image)
        return found and pinned(environment.image, found)
    assert environment.base
    base = engine.find_image(environment.base)
    if base is None:
        return None
    reference = built_reference(environment, base, registry)
    found = engine.find_image(reference)
    return found and pinned(reference, found)


def search(engine: Engine, environment: Environment, registry: str | None) -> ImageSearch:
    """The image where the machine has it, else what has to be done to get it."""
    if image := on_machine(engine, environment, registry):
        return ImageSearch(image=image)
    if environment.image or _is_in_registry(engine, environment, registry):
        return ImageSearch(missing="pull")
    return ImageSearch(missing="build")


def pinned(reference: str, found: ImageInfo) -> Image:
    """The image by what cannot move: its digest where a registry knows it, else the local id."""
    repository = reference.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    short = repository.removeprefix("docker.io/").removeprefix("library/")
    digest = next((digest for digest in found.digests if digest.startswith(f"{short}@")), None)
    return Image(id=found.id, name=digest or f"{repository}@{found.id}")


def _is_in_registry(engine: Engine, environment: Environment, registry: str | None) -> bool:
    base = engine.find_image(environment.base or "")
    if not (base and registry):
        return False
    try:
        return engine.in_registry(built_reference(environment, base, registry))
    except RegistryUnavailable as error:
        # It only saves a build: without it the environment is built here.
        log.warning("registry not asked for a built environment", error=str(error))
        return False
