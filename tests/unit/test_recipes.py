"""What decides a built image, and what does not: the key of an environment at a commit."""

from pathlib import Path
from typing import Any

import pytest

from temporal_runs.activities.recipes import recipe_of
from temporal_runs.settings import DEFAULT_TIERS
from temporal_runs.spec import RunSpec
from temporal_runs.steps import Inputs
from temporal_runs.store import Store, UnknownPath

FILES = {
    "Dockerfile": "FROM base:1\nCOPY src /src\n",
    "src/main.py": "print(1)\n",
    "src/left.log": "no\n",
    ".dockerignore": "**/*.log\n",
    "data.csv": "1\n",
}
BASES = {"base:1": "base@sha256:1"}


class Project:
    """A project in a store of its own, whose environment's key is looked at as files change."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder / "store"))
        self.folder = folder / "project"
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def recipe(self, **environment: Any):
        pushed = self.store.push("p", self.folder, base=None, author="tester", message="")
        spec = RunSpec.parse({"project": "p", "command": "true", "environment": environment})
        return recipe_of(Inputs(spec=spec, commit=pushed.version, tier=DEFAULT_TIERS[0]), self.store)

    def key(self, bases: dict[str, str] = BASES, **environment: Any) -> str:
        return self.recipe(**(environment or {"dockerfile": "Dockerfile"})).key(bases)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_files_that_the_dockerfile_does_not_take_or_that_are_ignored_decide_nothing(project: Project):
    before = project.key()
    project.write("data.csv", "2\n")
    project.write("results/new.txt", "2\n")
    project.write("src/left.log", "still no\n")
    assert project.key() == before


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/main.py", "print(2)\n"),
        ("src/new.py", ""),
        ("Dockerfile", "FROM base:1\nCOPY src /other\n"),
        (".dockerignore", "src/main.py\n"),
    ],
)
def test_files_that_it_takes_its_own_text_and_what_it_ignores_decide(project: Project, path: str, text: str):
    before = project.key()
    project.write(path, text)
    assert project.key() != before


def test_an_executable_bit_decides(project: Project):
    before = project.key()
    (project.folder / "src/main.py").chmod(0o755)
    assert project.key() != before


def test_arguments_and_what_its_base_is_by_now_decide(project: Project):
    before = project.key()
    assert project.key({"base:1": "base@sha256:2"}) != before
    assert project.key(dockerfile="Dockerfile", args={"A": "1"}) != before
    assert project.key(dockerfile="Dockerfile", build_limit=7) == before
    assert project.key(dockerfile="Dockerfile", secrets={"token": "token"}) == before


def test_requirements_and_scripts_decide_by_their_text(project: Project):
    project.write("requirements.txt", "a==1\n")
    before = project.key(image="base:1", requirements=True)
    assert project.key(image="base:1", requirements=True, pre_run="echo") == before
    assert project.key(image="base:1", requirements=True, pre_setup="echo") != before
    project.write("requirements.txt", "a==2\n")
    assert project.key(image="base:1", requirements=True) != before


def test_the_context_holds_what_is_taken_and_nothing_else(project: Project):
    project.write("requirements.txt", "a==1\n")
    found = project.recipe(dockerfile="Dockerfile", requirements=True, post_setup="echo")
    assert {file.path for _, file in found.files if file.kind == "file"} == {
        b"src/main.py",
        b".temporal-runs/requirements.txt",
        b".temporal-runs/post_setup.sh",
    }


def test_a_context_is_a_folder_of_the_project(project: Project):
    project.write("Dockerfile", "FROM base:1\nCOPY main.py /\n")
    found = project.recipe(dockerfile="Dockerfile", context="src")
    assert [file.path for _, file in found.files] == [b"main.py"]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"dockerfile": "None"}, "None"),
        ({"dockerfile": "Dockerfile", "context": "none"}, "none"),
        ({"image": "base:1", "requirements": "none.txt"}, "none.txt"),
    ],
)
def test_what_the_project_does_not_have_is_named(project: Project, environment: dict[str, str], named: str):
    with pytest.raises(UnknownPath, match=named):
        project.recipe(**environment)
