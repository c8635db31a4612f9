"""What an executor has of the file store on its own disk: a cache, and a workspace for each attempt.

It knows of files alone: not of Runs, nor of containers.
"""

from .cache import Cache
from .disk import Disk
from .imports import Import, InTheWay
from .overlay import Overlay
from .workspace import Kind, NotWhole, Workspace, Workspaces

__all__ = ["Cache", "Disk", "Import", "InTheWay", "Kind", "NotWhole", "Overlay", "Workspace", "Workspaces"]
