"""deploy/kubernetes fits the published schemas of Kubernetes and KEDA, and is of one piece with ours.

The schemas come as models that are generated from them (cloudcoil). What a trigger's metadata may hold is in no schema:
here it is as KEDA's documentation of the scaler says.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.kubernetes.apps.v1 import Deployment

from temporal_runs.steps import tier_queue

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
SCHEMAS = {"Deployment": Deployment, "ScaledObject": ScaledObject}
METADATA = {
    "temporal": {"endpoint", "namespace", "taskQueue", "queueTypes", "targetQueueSize", "activationTargetQueueSize"},
    "kubernetes-workload": {"podSelector", "value", "activationValue"},
}


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    found = [one for path in FOLDER.glob("*.yaml") for one in yaml.safe_load_all(path.read_text())]
    return {one["kind"]: one for one in found}


def test_they_fit_the_schemas(documents: dict[str, Any]):
    assert documents.keys() == SCHEMAS.keys()
    for kind, document in documents.items():
        SCHEMAS[kind].model_validate(document, extra="forbid")


def test_what_is_scaled_is_what_serves_the_queue(documents: dict[str, Any]):
    deployment, scaled = documents["Deployment"], documents["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    template = deployment["spec"]["template"]
    (executor,) = template["spec"]["containers"]
    command, option, pair = executor["args"]
    assert (command, option) == ("executor", "--serve")
    tier, slots = pair.split("=")
    triggers = {trigger["type"]: trigger["metadata"] for trigger in scaled["triggers"]}
    for kind, metadata in triggers.items():
        assert metadata.keys() <= METADATA[kind]
    assert triggers["temporal"]["taskQueue"] == tier_queue(tier)
    assert triggers["kubernetes-workload"]["podSelector"] == f"app={template['metadata']['labels']['app']}"
    modifiers = scaled["advanced"]["scalingModifiers"]
    assert [modifiers["target"], triggers["temporal"]["targetQueueSize"]] == [slots] * 2
    assert f"{slots} * executors" in modifiers["formula"]
    named = {trigger["name"] for trigger in scaled["triggers"]}
    assert set(re.findall(r"[a-z]+", modifiers["formula"])) == named


def test_an_executor_and_its_engine_see_the_same_folders_and_the_engine_ends_last(documents: dict[str, Any]):
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (executor,), (engine,) = pod["containers"], pod["initContainers"]
    mounts, engines = ({one["name"]: one["mountPath"] for one in each["volumeMounts"]} for each in (executor, engine))
    assert mounts.items() <= engines.items()
    assert engines.keys() == {volume["name"] for volume in pod["volumes"]}
    variables = {one["name"]: one["value"] for one in executor["env"]}
    assert variables["TEMPORAL_RUNS_HOME"] == mounts["home"]
    assert variables["DOCKER_HOST"] == f"unix://{mounts['socket']}/docker.sock"
    assert f"--host={variables['DOCKER_HOST']}" in engine["command"]
    assert engine["restartPolicy"] == "Always", "a sidecar: ended after the executor"
    assert pod["terminationGracePeriodSeconds"] >= 3600
