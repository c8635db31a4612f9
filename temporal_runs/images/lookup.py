"""Which image a name means, and whether it is handed out: nothing that came as one login goes to another on hope."""

from dataclasses import dataclass

from temporal_runs.engine import (
    CredentialsRefused,
    Engine,
    ImageInfo,
    ImageNotFound,
    RegistryUnavailable,
)

from .answers import Answers, Patience
from .arrivals import Arrivals
from .login import Login
from .names import familiar, is_id, is_pinned, pinned, repository
from .records import Records

NEEDED = Patience(within=10, silence=3)
"""Where nothing goes on without the registry."""

WELCOME = Patience(within=2, silence=60)
"""Where the machine has the image anyway: one without a network does not pay for every Run."""


@dataclass(frozen=True)
class ResolvedImage:
    """What a name means now: pinned to a digest, or to the id of what only the machine has."""

    reference: str
    name: str
    id: str = ""
    """on the machine; "" where it has to be fetched"""


class Lookup:
    """Looks images up for Runs of any login; thread-safe."""

    def __init__(self, engine: Engine, records: Records, arrivals: Arrivals) -> None:
        self._engine = engine
        self._records = records
        self._arrivals = arrivals
        self._answers = Answers(engine)

    def resolve(self, reference: str, login: Login) -> ResolvedImage:
        """What a name means: to its registry, where that answers, else to the machine.

        Raises ImageNotFound, RegistryUnavailable, both only where the machine cannot help.
        """
        local = self._on_machine(reference)
        if local and self._is_the_machine_s_own(reference, local):
            # Not asked for in a registry, where somebody else may have an image of that name.
            return self._handed_out(reference, pinned(reference, local), local)
        if not is_pinned(reference):
            try:
                return self._as_registry_says(reference, login, WELCOME if local else NEEDED)
            except CredentialsRefused:
                if local is None or self._is_restricted(local.id):
                    if local:
                        self._records.refuse(local.id, login.name)
                    raise
            except (ImageNotFound, RegistryUnavailable):
                if local is None:
                    raise
        if local is None:
            if is_id(reference):
                raise ImageNotFound(f"this machine has no image {reference}", reference)
            return ResolvedImage(reference, reference)
        self.check(local.id, login)
        return self._handed_out(reference, pinned(reference, local), local)

    def check(self, image: str, login: Login) -> None:
        """Raises RegistryUnavailable where an image of the machine is not, or not surely, for a login."""
        record = self._arrivals.record_of(image)
        if record is None or not record.source or login.name in record.allowed:
            return
        try:
            self._answers.digest(record.proof, login, NEEDED)
        except ImageNotFound as error:
            # What a registry says of what it hides.
            raise CredentialsRefused(f"{record.proof} is not shown to {login.user}: {error}") from None
        except CredentialsRefused:
            raise
        except RegistryUnavailable as error:
            raise RegistryUnavailable(
                f"{record.proof} came here with other credentials, and its registry cannot be asked whether "
                f"{login.user} may have it: {error}",
                error.retry_after,
            ) from None
        self._records.allow(image, login.name)

    def _as_registry_says(self, reference: str, login: Login, patience: Patience) -> ResolvedImage:
        name = f"{repository(reference)}@{self._answers.digest(reference, login, patience)}"
        found = self._on_machine(name)
        if found is None:
            return ResolvedImage(reference, name)
        self._arrivals.record_of(found.id)
        self._records.allow(found.id, login.name)
        return self._handed_out(reference, name, found)

    def _handed_out(self, reference: str, name: str, found: ImageInfo) -> ResolvedImage:
        return ResolvedImage(reference, name, found.id if self._records.use(found.id) else "")

    def _on_machine(self, reference: str) -> ImageInfo | None:
        """By a pinned name that may also be ours, of an image that only the machine has."""
        name, _, digest = reference.partition("@")
        return self._engine.find_image(reference) or (self._engine.find_image(digest) if name and digest else None)

    def _is_the_machine_s_own(self, reference: str, image: ImageInfo) -> bool:
        """True of one that got this name here, from whomever, and not from a registry."""
        return pinned(reference, image).endswith(image.id) and self._arrivals.record_of(image.id) is None

    def _is_restricted(self, image: str) -> bool:
        record = self._arrivals.record_of(image)
        return record is not None and record.source != ""


def tag_of(reference: str) -> str:
    """The name that a pulled image is to be found by again without its registry; "" where it is pinned."""
    return "" if is_pinned(reference) else familiar(reference)
