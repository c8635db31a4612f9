"""What a spec may say."""

import pytest

from temporal_runs.spec import InvalidSpec, RunSpec

GOOD = {"project": "p", "command": ["true"]}


def test_a_spec_needs_no_more_than_project_and_command():
    spec = RunSpec.parse(GOOD)
    assert (spec.tier, spec.priority, spec.stop_grace, spec.revision) == ("small", 3, 10, "latest")


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
