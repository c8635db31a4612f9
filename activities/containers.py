"""The container of an attempt: what it sees, what it may, and the variables every Run is given (design, section 3)."""

from pathlib import Path

from temporal_runs.activities.faults import fault
from temporal_runs.activities.leases import Holding
from temporal_runs.activities.scripts import around
from temporal_runs.activities.users import user_of
from temporal_runs.engine import ContainerSpec
from temporal_runs.steps import Assignment, Order

WORKING_DIRECTORY = "/mnt"
DATASETS = "/datasets"


def container_for(order: Order, holding: Holding, secrets: dict[str, str], labels: dict[str, str]) -> ContainerSpec:
    """The container a command runs in; the engine package adds what every container is denied."""
    spec, tier = order.assignment.inputs.spec, order.assignment.inputs.tier
    user, group = user_of(order.assignment.inputs)
    return ContainerSpec(
        name=holding.container,
        image=order.image.id,
        argv=around(spec.argv, order.assignment.inputs.runs_in),
        # The user has no entry in most images, and so no home a program could write to.
        env={"HOME": "/tmp", **spec.env, **secrets, **contract_variables(order.assignment)},  # noqa: S108
        working_dir=WORKING_DIRECTORY,
        mounts={} if order.workspace.volume else {order.workspace.folder: WORKING_DIRECTORY},
        volumes={order.workspace.volume: WORKING_DIRECTORY} if order.workspace.volume else {},
        read_only={
            **{f"{WORKING_DIRECTORY}/{at}": folder for at, folder in order.workspace.imports.items()},
            **{f"{DATASETS}/{name}": tier.mounts[name] for name in spec.mounts},
        },
        user=f"{user}:{group}",
        cores=tier.cores,
        memory=tier.memory,
        pids=tier.pids,
        shm=tier.shm,
        gpus=holding.gpus,
        labels=labels,
    )


def contract_variables(assignment: Assignment) -> dict[str, str]:
    """RUN_*, and Domino's names beside them, so that code written there runs here unchanged."""
    spec, run_id = assignment.inputs.spec, assignment.attempt.run_id
    return {
        "RUN_ID": run_id,
        "RUN_PROJECT": spec.project,
        "RUN_OWNER": spec.owner,
        "RUN_TIER": spec.tier,
        "RUN_WORKING_DIR": WORKING_DIRECTORY,
        "DOMINO_RUN_ID": run_id,
        "DOMINO_PROJECT_NAME": spec.project,
        "DOMINO_PROJECT_OWNER": spec.owner,
        "DOMINO_STARTING_USERNAME": spec.owner,
        "DOMINO_HARDWARE_TIER_ID": spec.tier,
        "DOMINO_WORKING_DIR": WORKING_DIRECTORY,
    }


def read_secrets(names: dict[str, str], folder: Path) -> dict[str, str]:
    """The values of a spec's secrets, by variable; a fault `invalid_spec` names one that cannot be given."""
    values: dict[str, str] = {}
    for variable, name in names.items():
        try:
            values[variable] = (folder / name).read_text().rstrip("\n")
        except FileNotFoundError:
            raise fault("invalid_spec", f"secrets.{variable}: this executor has no secret {name!r}") from None
        except UnicodeDecodeError:
            message = f"secrets.{variable}: the secret {name!r} of this executor is not UTF-8, as a variable must be"
            raise fault("invalid_spec", message) from None
    return values
