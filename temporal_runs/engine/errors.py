"""What can go wrong with a Docker engine, as the rest of the project meets it."""


class EngineError(Exception):
    """Base of everything this package raises."""


class EngineUnavailable(EngineError):
    """The engine does not answer, or the connection to it broke. It says nothing of what the engine was doing."""


class EngineHangs(EngineUnavailable):
    """The engine has taken calls and answered none for a minute. Its containers go on meanwhile."""


class ImageNotFound(EngineError):
    """There is no such image or tag: the registry said so, or, where none is asked, the machine does not have it."""

    def __init__(self, message: str, reference: str = "") -> None:
        super().__init__(message)
        self.reference = reference


class RegistryUnavailable(EngineError):
    """The registry could not be reached, answered with an error, or refused the credentials.

    `retry_after` is the seconds after which it wants to be asked again, where it said so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CredentialsRefused(RegistryUnavailable):
    """The registry was there, and would not let this user have it."""


class Interrupted(EngineError):
    """Whoever wanted a pull, build, push or wait has ended it, with its Interrupt."""


class BuildFailed(EngineError):
    """An instruction of a build failed: at which line of the Dockerfile, from 1; `output` is the last lines."""

    def __init__(self, instruction: str, line: int, output: str) -> None:
        super().__init__(f"line {line} failed: {instruction}")
        self.instruction = instruction
        self.line = line
        self.output = output


class ContainerMissing(EngineError):
    """There is no such container."""


class HostDiskFull(EngineError):
    """The engine's disk is full."""


class InvalidContainer(EngineError):
    """The engine refuses to make or start a container as it is asked to."""
