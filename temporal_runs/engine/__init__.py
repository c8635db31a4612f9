"""Docker engine access. Knows nothing of Temporal or of Runs."""

from .console import Console
from .containers import ContainerSpec, ContainerState
from .credentials import Credentials
from .engine import Engine
from .errors import (
    BuildFailed,
    ContainerMissing,
    CredentialsRefused,
    EngineError,
    EngineUnavailable,
    HostDiskFull,
    ImageNotFound,
    Interrupted,
    InvalidContainer,
    RegistryUnavailable,
)
from .evidence import KillEvent, Sample
from .images import ImageInfo, ListedImage
from .interrupt import Interrupt
from .progress import Layer, Progress, Report

__all__ = [
    "BuildFailed",
    "Console",
    "ContainerMissing",
    "ContainerSpec",
    "ContainerState",
    "Credentials",
    "CredentialsRefused",
    "Engine",
    "EngineError",
    "EngineUnavailable",
    "HostDiskFull",
    "ImageInfo",
    "ImageNotFound",
    "Interrupt",
    "Interrupted",
    "InvalidContainer",
    "KillEvent",
    "Layer",
    "ListedImage",
    "Progress",
    "RegistryUnavailable",
    "Report",
    "Sample",
]
