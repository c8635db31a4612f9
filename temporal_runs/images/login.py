"""A login: credentials under a name, since who may have an image is remembered by name, never by password."""

from dataclasses import dataclass

from temporal_runs.engine import Credentials


@dataclass(frozen=True)
class Login:
    """Two different logins never have the same name. Without credentials it is docker's own config, or nobody."""

    name: str
    credentials: Credentials | None = None

    @property
    def user(self) -> str:
        """For messages."""
        return self.credentials.username if self.credentials else "a Run without credentials"


ANYBODY = Login("")
