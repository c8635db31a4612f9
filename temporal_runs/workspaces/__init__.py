"""What an executor has of the file store on its own disk: a cache, and a workspace for each attempt.

It knows of files alone: not of Runs, nor of containers.
"""

from .cache import Cache
from .workspace import Kind, Overlay, Workspaces

__all__ = ["Cache", "Kind", "Overlay", "Workspaces"]
