"""An executor's images: which are on its machine, who may have them, who fetches them. Knows an engine, no Temporal."""

from .fetches import Fetches, Wanted
from .login import ANYBODY, Login
from .lookup import ResolvedImage
from .machine import HeldImage, MachineImages
from .names import pinned
from .records import Record, Records, RecordsUnreadable

__all__ = [
    "ANYBODY",
    "Fetches",
    "HeldImage",
    "Login",
    "MachineImages",
    "Record",
    "Records",
    "RecordsUnreadable",
    "ResolvedImage",
    "Wanted",
    "pinned",
]
