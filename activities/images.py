"""Which image a Run's environment means, and where it is: on the machine, in a registry, or yet to be built."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from temporal_runs.activities.recipes import Recipe, recipe_of
from temporal_runs.engine import Credentials, Engine, ImageInfo, ImageNotFound, Interrupt, RegistryUnavailable, Report
from temporal_runs.fields import InvalidSpec
from temporal_runs.images import ANYBODY, Login, MachineImages, ResolvedImage, pinned
from temporal_runs.registries import Registry, registry_host, registry_login
from temporal_runs.steps import Assignment, BuildPlan, Image, ImageSearch, Inputs
from temporal_runs.store import Store

log = structlog.get_logger()

REPOSITORY = "temporal-runs/environment"
"""Of built images."""
CACHE = "temporal-runs/cache"
"""Of the layers that builds may begin with."""


class Provision:
    """Of one executor. `shared_registry`: host:port of the registry that built images are shared by, if any."""

    def __init__(
        self,
        engine: Engine,
        images: MachineImages,
        store: Store,
        registries: Mapping[str, Registry],
        shared_registry: str | None,
        secrets_folder: Path,
        executor: str,
    ) -> None:
        self._engine = engine
        self._images = images
        self._store = store
        self._registries = registries
        self._shared_registry = shared_registry
        self._secrets_folder = secrets_folder
        self._executor = executor

    def search(self, assignment: Assignment) -> ImageSearch:
        """The image where the machine has it; what is in a registry begins to be fetched, for `pull` to wait for."""
        inputs = assignment.inputs
        plan = self.plan(inputs) if inputs.runs_in.is_built else None
        reference = plan.reference if plan else _reference(inputs)
        login = self._login(inputs, reference)
        try:
            found = self._images.resolve(reference, login)
        except (ImageNotFound, RegistryUnavailable) as error:
            # The phase that is to get it tries again, and says what is wrong.
            log.info("image not found yet", image=reference, error=str(error))
            return ImageSearch(missing="build" if plan else "pull", plan=plan)
        if found.id:
            return ImageSearch(image=_image(found))
        self._images.begin_fetch(assignment.attempt.key, found, login)
        return ImageSearch(missing="pull", reference=plan.reference if plan else found.name)

    def pull(self, assignment: Assignment, reference: str | None, report: Report) -> Image:
        """The image of the environment, or of a reference that is known to be its, once it is on the machine."""
        self._require_engine()
        inputs = assignment.inputs
        asked_for = (reference if inputs.runs_in.is_built else None) or _reference(inputs)
        login = self._login(inputs, asked_for)
        wanted = replace(self._images.resolve(reference or asked_for, login), reference=asked_for)
        return _image(self._images.fetch(assignment.attempt.key, wanted, report, login))

    def fetch_ahead(self, reference: str) -> None:
        """Has an image on the machine before a Run asks for it; raises what `pull` raises."""
        login = self._login_at(reference, None, "")
        image = self._images.resolve(reference, login)
        self._images.fetch(f"ahead {reference}", image, lambda progress: None, login)

    def plan(self, inputs: Inputs) -> BuildPlan:
        """The build of the Run's environment; raises InvalidSpec where this machine cannot do it."""
        recipe = recipe_of(inputs, self._store)
        if recipe.secrets and not self._engine.has_buildkit:
            raise InvalidSpec(
                "environment.secrets",
                f"build secrets need BuildKit, and executor {self._executor} has none: install docker's buildx there, "
                "or give the command the secret when it runs, in the spec's own secrets",
            )
        bases = {base: self._images.resolve(base, self._login(inputs, base)).name for base in recipe.dockerfile.bases}
        key = recipe.key(bases)
        name = f"{REPOSITORY}:{key}"
        reference = f"{self._shared_registry}/{name}" if self._shared_registry else name
        return BuildPlan(
            key=key, reference=reference, bases=bases, shared=bool(self._shared_registry), executor=self._executor
        )

    def build(self, inputs: Inputs, plan: BuildPlan | None, report: Report, interrupt: Interrupt) -> Image:
        """Builds what is planned, or finds it built."""
        self._require_engine()
        plan = plan or self.plan(inputs)
        if built := self._engine.find_image(plan.reference):
            self._images.resolve(built.id)  # notes its use
            return Image(id=built.id, name=pinned(plan.reference, built))
        recipe = recipe_of(inputs, self._store)
        bases = {base: self._base(inputs, plan, base, report) for base in plan.bases}
        build = replace(recipe.build(bases), secrets=self._secrets(recipe), cache=self._cache_for(inputs.spec.project))

        def made(step: ImageInfo) -> None:
            self._images.made(step, bases.values())

        built = self._images.with_room(lambda: self._engine.build(build, plan.reference, report, interrupt, made))
        self._images.built(built, plan.reference, bases.values())
        return Image(id=built.id, name=pinned(plan.reference, built))

    def push(self, inputs: Inputs, plan: BuildPlan, report: Report, interrupt: Interrupt) -> None:
        """Brings a built image into the registry that is shared."""
        self._require_engine()
        credentials = self._login(inputs, plan.reference).credentials
        for reference in filter(None, (plan.reference, self._cache_for(inputs.spec.project))):
            self._engine.push(reference, report, credentials, interrupt)

    def _require_engine(self) -> None:
        """One that hangs would be waited for by each call, a minute a try."""
        self._engine.ping()

    def _base(self, inputs: Inputs, plan: BuildPlan, base: str, report: Report) -> str:
        login = self._login(inputs, base)
        image = replace(self._images.resolve(plan.bases[base], login), reference=base)
        return self._images.fetch(f"{plan.workflow_id} {base}", image, report, login).id

    def _login(self, inputs: Inputs, reference: str) -> Login:
        """Whom the registry of an image is asked as; raises InvalidSpec, PasswordUnreadable."""
        host, name = registry_host(reference), inputs.runs_in.credentials
        if inputs.runs_in.is_built and name in self._registries and self._registries[name].host != host:
            name = None  # they are another image's, of those that the build needs
        return self._login_at(reference, name, inputs.spec.owner)

    def _login_at(self, reference: str, name: str | None, owner: str) -> Login:
        found = registry_login(self._registries, name, registry_host(reference), owner)
        return Login(found.name, Credentials(found.username, found.password)) if found else ANYBODY

    def _cache_for(self, project: str) -> str | None:
        """Where the layers of a project's last build are, for a builder that can take them from there."""
        if self._engine.has_buildkit and self._shared_registry:
            return f"{self._shared_registry}/{CACHE}:{project}"
        return None

    def _secrets(self, recipe: Recipe) -> dict[str, Path]:
        files = {id: self._secrets_folder / name for id, name in recipe.secrets.items()}
        for id, file in files.items():
            if not file.is_file():
                raise InvalidSpec(f"environment.secrets.{id}", f"this executor has no secret {file.name!r}")
        return files


def _reference(inputs: Inputs) -> str:
    reference = inputs.runs_in.image
    assert reference, "an environment that is not built is an image"
    return reference


def _image(found: ResolvedImage) -> Image:
    return Image(id=found.id, name=found.name)
