"""Docker engine access. Knows nothing of Temporal or of Runs."""

from .builds import Build, ContextFile
from .console import Console
from .containers import ContainerSpec, ContainerState
from .dockerfile import Dockerfile
from .engine import Engine
from .errors import (
    BuildFailed,
    ContainerMissing,
    EngineError,
    EngineUnavailable,
    HostDiskFull,
    ImageNotFound,
    InvalidContainer,
    RegistryUnavailable,
)
from .evidence import KillEvent, Sample
from .images import ImageInfo, Progress

__all__ = [
    "Build",
    "BuildFailed",
    "Console",
    "ContainerMissing",
    "ContainerSpec",
    "ContainerState",
    "ContextFile",
    "Dockerfile",
    "Engine",
    "EngineError",
    "EngineUnavailable",
    "HostDiskFull",
    "ImageInfo",
    "ImageNotFound",
    "InvalidContainer",
    "KillEvent",
    "Progress",
    "RegistryUnavailable",
    "Sample",
]
