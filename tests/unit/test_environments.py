"""Named environments: revisions never change, and nobody's is lost; and how each kind of environment is built."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_runs.environment import Environment, NamedEnvironment
from temporal_runs.environments import EnvironmentExists, Environments, UnknownEnvironment, resolve
from temporal_runs.project import ProjectSettings
from temporal_runs.spec import InvalidSpec, RunSpec
from temporal_runs.steps import Inputs, Tier
from temporal_runs.store import Store, StoreCorrupt, sweep

PYTHON = Environment(image="python:3.12")
DEBIAN = Environment(base="debian:12", instructions=["RUN true"])


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store") if request.param == "local" else "memory://")


@pytest.fixture
def environments(store: Store) -> Environments:
    return Environments(store)


def test_revisions_are_numbered_and_stay_as_they_are(environments: Environments):
    first = environments.create("ml", PYTHON, summary="begun", author="ada")
    for _ in range(10):
        newest = environments.revise("ml", DEBIAN, author="bob")
    assert (first.label, newest.label) == ("ml#1", "ml#11")
    assert environments.show("ml") == newest
    assert environments.show("ml", 1) == first
    assert first.environment == PYTHON
    assert (first.summary, first.author) == ("begun", "ada")
    assert [one.number for one in environments.revisions("ml")] == list(range(1, 12))


def test_the_list_has_the_newest_of_each(environments: Environments):
    assert environments.list() == []
    environments.create("ml-2", PYTHON, author="ada")
    environments.create("ml", PYTHON, author="ada")
    environments.revise("ml", DEBIAN, author="ada")
    assert [one.label for one in environments.list()] == ["ml#2", "ml-2#1"]


def test_those_who_revise_at_once_all_get_a_revision_of_their_own(environments: Environments):
    environments.create("ml", PYTHON, author="ada")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: environments.revise("ml", DEBIAN, author=f"{n}"), range(24)))
    assert sorted(one.number for one in made) == list(range(2, 26))
    assert {one.number: one for one in environments.revisions("ml")[1:]} == {one.number: one for one in made}


def test_of_those_who_create_at_once_one_does(environments: Environments):
    def create(author: int) -> bool:
        try:
            environments.create("ml", PYTHON, author=f"{author}")
        except EnvironmentExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_what_there_is_not_is_said_with_what_there_is(environments: Environments):
    with pytest.raises(UnknownEnvironment, match="no environment ml; there are none: make one"):
        environments.show("ml")
    environments.create("ml", PYTHON, author="ada")
    with pytest.raises(UnknownEnvironment, match="no environment nn; there are ml"):
        environments.revise("nn", PYTHON, author="ada")
    with pytest.raises(UnknownEnvironment, match="no revision 2; its newest is 1"):
        environments.show("ml", 2)
    with pytest.raises(InvalidSpec, match="name: a named environment says what it is"):
        environments.revise("ml", Environment(name="other"), author="ada")
    for name in ("../ml", "", "a/b"):
        with pytest.raises(InvalidSpec, match="name"):
            environments.create(name, PYTHON, author="ada")


def test_a_damaged_revision_is_told(environments: Environments, store: Store):
    environments.create("ml", PYTHON, author="ada")
    store.put("environments/ml/1.json", b"{")
    with pytest.raises(StoreCorrupt, match=r"environments/ml/1\.json"):
        environments.show("ml")


def test_clearing_the_store_keeps_them(environments: Environments, store: Store, monkeypatch: pytest.MonkeyPatch):
    made = environments.create("ml", PYTHON, author="ada")
    monkeypatch.setattr(sweep, "GRACE", timedelta(0))
    store.gc()
    assert environments.show("ml") == made


def test_a_spec_pins_what_it_names_or_else_what_its_project_uses(environments: Environments, store: Store):
    environments.create("ml", PYTHON, author="ada")
    environments.revise("ml", DEBIAN, author="ada")

    def resolved(**environment: object) -> str | None:
        revision = resolve(RunSpec.parse({"project": "p", "command": "true", **environment}), store)
        return revision and revision.label

    assert resolved() is None
    ProjectSettings(environment=NamedEnvironment(name="ml", revision=1)).save(store, "p")
    assert resolved() == "ml#1"
    assert resolved(environment={"name": "ml"}) == "ml#2"
    assert resolved(environment={"name": "ml", "revision": 1}) == "ml#1"
    assert resolved(environment={"image": "a"}) is None
    with pytest.raises(UnknownEnvironment):
        resolved(environment={"name": "nn"})


def test_inputs_of_an_older_version_run_in_what_their_spec_says():
    tier = Tier(name="small", cores=1, memory=1)
    spec = {"project": "p", "command": "true", "environment": {"image": "a", "base": None, "instructions": []}}
    assert Inputs.model_validate({"spec": spec, "commit": "c", "tier": tier}).runs_in.image == "a"
    assert Inputs(spec=RunSpec(project="p", command="true"), commit="c", tier=tier).runs_in.image


def test_what_is_said_of_an_environment_is_all_that_is_kept():
    given = {"image": "a", "requirements": True, "post_setup": "true"}
    kept = {**given, "requirements": "requirements.txt"}
    assert Environment.parse(given).model_dump() == kept
    assert Environment.parse(Environment.parse(given).model_dump()) == Environment.parse(kept)


@pytest.mark.parametrize(
    ("given", "built", "starts_from"),
    [
        ({"image": "a"}, False, "a"),
        ({"image": "a", "pre_run": "true", "post_run": "true", "credentials": "team"}, False, "a"),
        ({"image": "a", "requirements": "r.txt"}, True, "a"),
        ({"image": "a", "pre_setup": "true"}, True, "a"),
        ({"base": "b"}, True, "b"),
        ({"dockerfile": "Dockerfile"}, True, None),
    ],
)
def test_which_are_built_and_from_what(given: dict, built: bool, starts_from: str | None):
    environment = Environment.parse(given)
    assert (environment.is_built, environment.starts_from) == (built, starts_from)


def test_setup_happens_in_dominos_order_as_root():
    environment = Environment(
        base="b", pre_setup="#!/bin/bash -e\nexport A=(1)", requirements="a/b.txt", post_setup="true"
    )
    assert environment.setup_instructions() == [
        "USER 0",
        "COPY .temporal-runs/pre_setup.sh /tmp/temporal-runs/pre_setup.sh",
        "RUN /bin/bash -e /tmp/temporal-runs/pre_setup.sh",
        "COPY .temporal-runs/requirements.txt /tmp/temporal-runs/requirements.txt",
        "RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir -r /tmp/temporal-runs/requirements.txt",
        "COPY .temporal-runs/post_setup.sh /tmp/temporal-runs/post_setup.sh",
        "RUN /bin/sh /tmp/temporal-runs/post_setup.sh",
    ]
    assert environment.setup_files() == {
        ".temporal-runs/pre_setup.sh": "#!/bin/bash -e\nexport A=(1)",
        ".temporal-runs/post_setup.sh": "true",
    }
    assert PYTHON.setup_instructions() == []
    assert PYTHON.setup_files() == {}
