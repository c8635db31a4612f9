"""What a project's owner has settled for it; kept in the file store, beside the project's files."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from temporal_runs.environment import NamedEnvironment
from temporal_runs.notices import Notices
from temporal_runs.store import Limits, OnConflict, Store

AtLeastOne = Annotated[int, Field(ge=1)]


class ProjectSettings(BaseModel):
    """Of one project. Sizes in bytes; None is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_conflict: OnConflict = "keep_both"
    """what becomes of a Run's results where others changed the same files; a spec may say otherwise"""
    environment: NamedEnvironment | None = None
    """what Runs execute in whose spec says nothing of it"""
    max_running: AtLeastOne | None = None
    """how many of its Runs may be on their way at once; the others wait. Holds from the next Run on"""
    notify: Notices = []
    """who is told when one of its Runs has ended"""
    max_files: AtLeastOne | None = None
    max_file_size: AtLeastOne | None = None
    max_total: AtLeastOne | None = None

    @classmethod
    def load(cls, store: Store, project: str) -> Self:
        """Those of a project; the defaults where nothing was settled."""
        said = store.get(f"projects/{project}.json")
        return cls() if said is None else cls.model_validate_json(said)

    def save(self, store: Store, project: str) -> None:
        """Settles them."""
        store.put(f"projects/{project}.json", self.model_dump_json().encode())

    def changed(self, **values: object) -> Self:
        """The same with some values changed; raises ValidationError."""
        return self.model_validate({**self.model_dump(), **values})

    @property
    def limits(self) -> Limits:
        """What a push may bring."""
        return Limits(files=self.max_files, file_size=self.max_file_size, total=self.max_total)
