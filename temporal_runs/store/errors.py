"""What can go wrong with the store: few types, each message saying what happened and what to do."""


class StoreError(Exception):
    """Anything the store could not do. Its message is meant for a person."""


class StoreUnavailable(StoreError):
    """The backend cannot be reached, refused us, is full, or lacks what the store relies on."""


class StoreCorrupt(StoreError):
    """An object is missing, does not match its hash, or says what no object of ours can say."""


class UnknownProject(StoreError):
    """No project of that name has ever been pushed."""


class UnknownRevision(StoreError):
    """The project has no such commit or ref, or the prefix fits several commits."""


class UnknownPath(StoreError):
    """A commit has nothing of that path, or not what was asked for."""


class OverLimit(StoreError):
    """A folder holds more than its project may."""


class LocalChanges(StoreError):
    """An update would overwrite what was changed in the folder."""


class InvalidFolder(StoreError):
    """A folder that cannot be read, is missing or not empty, or a path that names no file."""
