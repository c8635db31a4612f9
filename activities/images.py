"""Which image a Run's environment means, and where it is: on the machine, in a registry, or yet to be built."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from temporal_runs.activities.recipes import Recipe, recipe_of
from temporal_runs.engine import Engine, ImageInfo, Interrupt, RegistryUnavailable, Report
from temporal_runs.fields import InvalidSpec
from temporal_runs.registries import Registry
from temporal_runs.steps import BuildPlan, Image, ImageSearch, Inputs
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
        store: Store,
        registries: Mapping[str, Registry],
        shared_registry: str | None,
        secrets_folder: Path,
        executor: str,
    ) -> None:
        self._engine = engine
        self._store = store
        self._registries = registries
        self._shared_registry = shared_registry
        self._secrets_folder = secrets_folder
        self._executor = executor

    def search(self, inputs: Inputs) -> ImageSearch:
        """The image where the machine has it, else what has to be done to get it."""
        environment = inputs.runs_in
        if not environment.is_built:
            assert environment.image
            found = self._engine.find_image(environment.image)
            return ImageSearch(image=pinned(environment.image, found)) if found else ImageSearch(missing="pull")
        plan = self.plan(inputs)
        if found := self._engine.find_image(plan.reference):
            return ImageSearch(image=pinned(plan.reference, found))
        if plan.shared and self._is_in_registry(plan.reference):
            return ImageSearch(missing="pull", reference=plan.reference)
        return ImageSearch(missing="build", plan=plan)

    def plan(self, inputs: Inputs) -> BuildPlan:
        """The build of the Run's environment; raises InvalidSpec where this machine cannot do it."""
        recipe = recipe_of(inputs, self._store)
        if recipe.secrets and not self._engine.has_buildkit:
            raise InvalidSpec(
                "environment.secrets",
                f"build secrets need BuildKit, and executor {self._executor} has none: install docker's buildx there, "
                "or give the command the secret when it runs, in the spec's own secrets",
            )
        bases = {base: self._resolved(base) for base in recipe.dockerfile.bases}
        key = recipe.key(bases)
        name = f"{REPOSITORY}:{key}"
        reference = f"{self._shared_registry}/{name}" if self._shared_registry else name
        return BuildPlan(
            key=key, reference=reference, bases=bases, shared=bool(self._shared_registry), executor=self._executor
        )

    def build(self, inputs: Inputs, plan: BuildPlan | None, report: Report, interrupt: Interrupt) -> Image:
        """Builds what is planned, or finds it built."""
        plan = plan or self.plan(inputs)
        if found := self._engine.find_image(plan.reference):
            return pinned(plan.reference, found)
        recipe = recipe_of(inputs, self._store)
        ids = {base: self._fetched(reference, report, interrupt).id for base, reference in plan.bases.items()}
        build = replace(recipe.build(ids), secrets=self._secrets(recipe), cache=self._cache_for(inputs.spec.project))
        built = self._engine.build(build, plan.reference, report, interrupt)
        return pinned(plan.reference, built)

    def push(self, inputs: Inputs, plan: BuildPlan, report: Report, interrupt: Interrupt) -> None:
        """Brings a built image into the registry that is shared."""
        self._engine.push(plan.reference, report, interrupt=interrupt)
        if cache := self._cache_for(inputs.spec.project):
            self._engine.push(cache, report, interrupt=interrupt)

    def pull(self, inputs: Inputs, reference: str | None, report: Report, interrupt: Interrupt) -> Image:
        reference = reference or inputs.runs_in.image
        assert reference
        return pinned(reference, self._fetched(reference, report, interrupt))

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

    def _fetched(self, reference: str, report: Report, interrupt: Interrupt) -> ImageInfo:
        return self._engine.find_image(reference) or self._engine.pull(reference, report, interrupt=interrupt)

    def _resolved(self, reference: str) -> str:
        found = self._engine.find_image(reference)
        return found.id if found else reference

    def _is_in_registry(self, reference: str) -> bool:
        try:
            return self._engine.in_registry(reference)
        except RegistryUnavailable as error:
            # It only saves a build: without it the environment is built here.
            log.warning("registry not asked for a built environment", error=str(error))
            return False


def pinned(reference: str, found: ImageInfo) -> Image:
    """The image by what cannot move: its digest where a registry knows it, else the local id."""
    repository = reference.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    short = repository.removeprefix("docker.io/").removeprefix("library/")
    digest = next((digest for digest in found.digests if digest.startswith(f"{short}@")), None)
    return Image(id=found.id, name=digest or f"{repository}@{found.id}")
