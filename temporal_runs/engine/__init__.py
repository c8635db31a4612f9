"""Docker engine access. Knows nothing of Temporal or of Runs."""

from .console import Console, Piece
from .containers import ContainerSpec, ContainerState
from .context import Build, ContextFile
from .credentials import Credentials
from .dockerfile import Dockerfile
from .engine import Engine
from .errors import (
    BuildFailed,
    ContainerMissing,
    CredentialsRefused,
    EngineError,
    EngineHangs,
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
    "Build",
    "BuildFailed",
    "Console",
    "ContainerMissing",
    "ContainerSpec",
    "ContainerState",
    "ContextFile",
    "Credentials",
    "CredentialsRefused",
    "Dockerfile",
    "Engine",
    "EngineError",
    "EngineHangs",
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
    "Piece",
    "Progress",
    "RegistryUnavailable",
    "Report",
    "Sample",
]
