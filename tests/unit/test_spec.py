"""What a spec may say."""

import pytest

from temporal_runs.spec import InvalidSpec, RunSpec

GOOD = {"project": "p", "command": ["true"]}


def test_a_spec_needs_no_more_than_project_and_command():
    spec = RunSpec.parse(GOOD)
    assert (spec.tier, spec.priority, spec.stop_grace, spec.revision) == ("small", 3, 10, "latest")


@pytest.mark.parametrize(
    "environment",
    [
        {"dockerfile": "docker/Dockerfile", "context": "docker", "args": {"A": "1"}, "secrets": {"token": "my-token"}},
        {"base": "b", "instructions": ["RUN true"], "credentials": "team", "build_limit": 60},
        {"image": "a", "requirements": True, "args": {"A": "1"}, "pre_setup": "a", "post_setup": "b"},
        {"image": "a", "pre_run": "a", "post_run": "#!/bin/bash\nb"},
        {"name": "ml", "revision": 3},
        {"name": "ml", "revision": "latest"},
    ],
)
def test_every_kind_of_environment_and_its_own_spec_again(environment: dict):
    spec = RunSpec.parse({**GOOD, "environment": environment})
    assert RunSpec.parse(spec.model_dump(mode="json")) == spec
    assert RunSpec.parse(spec.model_dump(mode="json", exclude_none=True)) == spec


def test_a_string_goes_to_the_shell():
    assert RunSpec.parse({**GOOD, "command": "a | b"}).argv == ["/bin/sh", "-c", "a | b"]


def test_a_spec_survives_json():
    spec = RunSpec.parse({**GOOD, "environment": {"base": "debian:12", "instructions": ["RUN true"]}, "tags": ["a"]})
    assert RunSpec.parse(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("image", ["a", "a:b", "h:5000/a/b:c", "ghcr.io/x/y@sha256:" + "0" * 64, "127.0.0.1:1/x"])
def test_images_as_docker_names_them(image: str):
    assert RunSpec.parse({**GOOD, "environment": {"image": image}}).environment.image == image


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"project": None}, "project", "string"),
        ({"project": "a/b"}, "project", "a/b"),
        ({"command": []}, "command", "list of strings"),
        ({"command": 7}, "command", "string"),
        ({"colour": "red"}, "colour", "unknown key"),
        ({"priority": 6}, "priority", "less than or equal to 5"),
        ({"priority": "3"}, "priority", "integer"),
        ({"time_limit": 0}, "time_limit", "greater than 0"),
        ({"time_limit": float("nan")}, "time_limit", ""),
        ({"environment": {}}, "environment", "image"),
        ({"environment": {"image": "a", "base": "b"}}, "environment", "either"),
        ({"environment": {"image": "A b"}}, "environment.image", "A b"),
        ({"environment": {"base": "b", "instructions": ["FROM x"]}}, "environment", "FROM"),
        ({"environment": {"image": "a", "pull": True}}, "environment.pull", "unknown key"),
        ({"environment": ["a"]}, "environment", "object"),
        (
            {"environment": {"image": "a", "instructions": ["RUN true"]}},
            "environment",
            '"instructions" goes with "base"',
        ),
        ({"environment": {"base": "a", "context": "b"}}, "environment", '"context" goes with "dockerfile"'),
        ({"environment": {"dockerfile": "/etc/Dockerfile"}}, "environment.dockerfile", "below the project's root"),
        ({"environment": {"dockerfile": "a", "context": ".."}}, "environment.context", "below the project's root"),
        ({"environment": {"dockerfile": ""}}, "environment.dockerfile", "character"),
        ({"environment": {"image": "a", "requirements": "../r.txt"}}, "environment.requirements", "../r.txt"),
        ({"environment": {"image": "a", "args": {"A": "1"}}}, "environment", '"args" is for builds'),
        ({"environment": {"image": "a", "secrets": {"a": "b"}}}, "environment", '"secrets" is for builds'),
        ({"environment": {"base": "a", "secrets": {"a": "../b"}}}, "environment.secrets.a", "pattern"),
        ({"environment": {"base": "a", "args": {"A": 1}}}, "environment.args.A", "string"),
        ({"environment": {"base": "a", "build_limit": 0}}, "environment.build_limit", "greater than 0"),
        ({"environment": {"image": "a", "credentials": "a/b"}}, "environment.credentials", "a/b"),
        ({"environment": {"image": "a", "pre_run": "é" * 40_000}}, "environment.pre_run", "at most 64 KiB"),
        ({"environment": {"image": "a", "pre_run": "a\0"}}, "environment.pre_run", "NUL"),
        ({"environment": {"name": "a", "revision": 0}}, "environment.revision", "number of a revision"),
        ({"environment": {"name": "a", "revision": "newest"}}, "environment.revision", '"newest"'),
        ({"environment": {"name": "a", "revision": True}}, "environment.revision", "number of a revision"),
        ({"environment": {"name": "a", "pre_run": "b"}}, "environment", '"pre_run" does not go with "name"'),
        ({"environment": {"name": "a", "image": "b"}}, "environment", "either"),
        ({"environment": {"image": "a", "revision": 3}}, "environment", '"revision" goes with "name"'),
        ({"env": {"RUN_ID": "x"}}, "", "RUN_ID"),
        ({"env": {"1A": "x"}}, "env", "pattern"),
        ({"env": {"A": 1}}, "env.A", "string"),
        ({"secrets": {"A": "../../etc/passwd"}}, "secrets.A", "pattern"),
        ({"revision": "../main"}, "revision", "../main"),
        ({"on_executor_lost": "ignore"}, "on_executor_lost", "error"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(wrong: dict, field: str, said: str):
    with pytest.raises(InvalidSpec) as problem:
        RunSpec.parse({**GOOD, **wrong})
    assert problem.value.field.startswith(field)
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("given", [None, [], "x", 1, True, {}, {"project": object()}])
def test_anything_may_be_sent(given: object):
    with pytest.raises(InvalidSpec):
        RunSpec.parse(given)
