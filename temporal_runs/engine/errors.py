"""What can go wrong with a Docker engine, as the rest of the project meets it."""


class EngineError(Exception):
    """Base of everything this package raises."""


class EngineUnavailable(EngineError):
    """The engine does not answer."""


class ImageNotFound(EngineError):
    """There is no such image or tag: the registry said so."""


class RegistryUnavailable(EngineError):
    """The registry could not be reached, or refused."""


class BuildFailed(EngineError):
    """An instruction of a build failed."""

    def __init__(self, instruction: str, step: int, output: str) -> None:
        super().__init__(f"instruction {step} failed: {instruction}")
        self.instruction = instruction
        self.step = step
        self.output = output


class ContainerMissing(EngineError):
    """There is no such container."""


class HostDiskFull(EngineError):
    """The engine's disk is full."""


class InvalidContainer(EngineError):
    """The engine refuses to make or start a container as it is asked to."""
