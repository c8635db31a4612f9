"""Docker engine access. Knows nothing of Temporal or of Runs."""

from .containers import ContainerSpec, ContainerState, KillEvent, Sample
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
from .images import ImageInfo, Progress

__all__ = [
    "BuildFailed",
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
