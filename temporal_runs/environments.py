"""Named environments: numbered revisions in the store, which never change, so that a Run can pin the one it used."""

from datetime import UTC, datetime

from pydantic import ValidationError

from temporal_runs.environment import Environment, NamedEnvironment, RevisionNumber
from temporal_runs.fields import Id, InvalidSpec, parsed
from temporal_runs.project import ProjectSettings
from temporal_runs.spec import RunSpec
from temporal_runs.status import Model
from temporal_runs.store import Store, StoreCorrupt, StoreError


class UnknownEnvironment(StoreError):
    """The store has no such environment, or no such revision of it."""


class EnvironmentExists(StoreError):
    """The store has an environment of that name already."""


class Revision(Model):
    """One revision of a named environment."""

    name: Id
    number: RevisionNumber
    environment: Environment
    summary: str
    """what is new in it"""
    author: str
    at: datetime

    @property
    def label(self) -> str:
        """How a Run says which it used."""
        return f"{self.name}#{self.number}"


class Environments:
    """The named environments of a store. Thread-safe; two who revise one at once make two revisions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, environment: Environment, *, summary: str = "", author: str) -> Revision:
        """Revision 1 of a new environment; raises EnvironmentExists, InvalidSpec."""
        first = _revision(name, 1, environment, summary, author)
        if not self._kept(first):
            raise EnvironmentExists(f"there is an environment {name} already: revise it, or choose another name")
        return first

    def revise(self, name: str, environment: Environment, *, summary: str = "", author: str) -> Revision:
        """The next revision; raises UnknownEnvironment, InvalidSpec."""
        number = self._numbers(name)[-1] + 1
        while not self._kept(revision := _revision(name, number, environment, summary, author)):
            number += 1  # somebody else was faster
        return revision

    def show(self, name: str, revision: int | str = "latest") -> Revision:
        """One revision, by its number or "latest"; raises UnknownEnvironment."""
        numbers = self._numbers(name)
        number = numbers[-1] if revision == "latest" else revision
        if number not in numbers:
            raise UnknownEnvironment(f"environment {name} has no revision {revision}; its newest is {numbers[-1]}")
        return self._read(_key(name, number))

    def revisions(self, name: str) -> list[Revision]:
        """All revisions of an environment, the oldest first; raises UnknownEnvironment."""
        return [self._read(_key(name, number)) for number in self._numbers(name)]

    # Last in the class: below it the name `list` would be this method, in annotations as well.
    def list(self) -> list[Revision]:
        """The newest revision of each environment, by name."""
        return [self.show(name) for name in self._names()]

    def _names(self) -> "list[str]":
        return sorted({key.split("/")[1] for key in self._store.list("environments")})

    def _numbers(self, name: str) -> "list[int]":
        """Numbers of its revisions, of which there is at least one."""
        _check(name)
        numbers = sorted(
            int(key.split("/")[2].removesuffix(".json")) for key in self._store.list(f"environments/{name}")
        )
        if not numbers:
            known = ", ".join(self._names()) or "none: make one with `temporal-runs environment create`"
            raise UnknownEnvironment(f"there is no environment {name}; there are {known}")
        return numbers

    def _kept(self, revision: Revision) -> bool:
        key, data = _key(revision.name, revision.number), revision.model_dump_json().encode()
        # A creation that was answered with a refusal may still have been ours: the transport retries by itself.
        return self._store.create(key, data) or self._store.get(key) == data

    def _read(self, key: str) -> Revision:
        try:
            return Revision.model_validate_json(self._store.get(key) or b"")
        except ValidationError as error:
            raise StoreCorrupt(f"the document {key} cannot be understood. Restore it from a backup.") from error


def resolve(spec: RunSpec, store: Store) -> Revision | None:
    """The revision that a spec's named environment, or its project's default, stands for now.

    None where the spec says its environment itself, and where there is no default. Raises UnknownEnvironment.
    """
    if spec.environment is None:
        named = ProjectSettings.load(store, spec.project).environment
    elif spec.environment.name:
        named = NamedEnvironment(name=spec.environment.name, revision=spec.environment.revision)
    else:
        named = None
    return named and Environments(store).show(named.name, named.revision)


def _revision(name: str, number: int, environment: Environment, summary: str, author: str) -> Revision:
    _check(name)
    if environment.name:
        raise InvalidSpec("name", "a named environment says what it is, and may not be the name of another")
    at = datetime.now(UTC)
    return Revision(name=name, number=number, environment=environment, summary=summary, author=author, at=at)


def _check(name: str) -> None:
    parsed(NamedEnvironment, {"name": name}, "an environment's name")


def _key(name: str, number: int | str) -> str:
    return f"environments/{name}/{number}.json"
