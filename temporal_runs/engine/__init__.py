"""Docker engine access. Knows nothing of Temporal or of Runs."""

from .console import Console
from .containers import ContainerSpec, ContainerState
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
    "BuildFailed",
    "Console",
    "ContainerMissing",
    "ContainerSpec",
    "ContainerState",
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
