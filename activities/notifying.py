"""Notifying: those who want to hear of a Run's end are told of it, after it, and whatever that takes.

What is said holds nothing of the console and none of the command's variables: it goes to who knows whom.
"""

import asyncio
import json
import re
from contextlib import suppress
from itertools import pairwise
from typing import Any, cast

import structlog
from pydantic import TypeAdapter, ValidationError
from temporalio import activity
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from temporal_runs import metrics
from temporal_runs.delivery import Delivery, NotDelivered
from temporal_runs.fields import ID_PATTERN
from temporal_runs.notices import Notice
from temporal_runs.project import ProjectSettings
from temporal_runs.status import RunResult
from temporal_runs.steps import Notification
from temporal_runs.store import Store

log = structlog.get_logger()


class Notifying:
    """The dispatcher's activities for what follows a Run."""

    def __init__(self, store: Store, delivery: Delivery) -> None:
        self._store = store
        self._delivery = delivery

    @activity.defn(name="recipients")
    async def recipients(self, result: RunResult) -> list[Notice]:
        """Whom to tell."""
        return await asyncio.to_thread(recipients, result, self._store)

    @activity.defn(name="deliver")
    async def deliver(self, notification: Notification) -> None:
        """Tells one. It may be told twice, where nobody heard that it was; then with the same key."""
        try:
            await asyncio.to_thread(self._deliver, notification, activity.info().namespace)
        except NotDelivered as error:
            _count(notification, told="no")
            log.warning("not told", to=notification.notice.shown, error=str(error))
            raise ApplicationError(str(error), type="not_delivered", non_retryable=error.final) from None
        _count(notification, told="yes")

    def _deliver(self, notification: Notification, namespace: str) -> None:
        notice, result, delivery = notification.notice, notification.result, self._delivery
        link = delivery.web_ui and (
            f"{delivery.web_ui.rstrip('/')}/namespaces/{namespace}/workflows/{result.run_id}/{result.execution_id}"
        )
        if notice.url:
            delivery.webhooks.post(notice.url, json.dumps(told(result, link)).encode(), result.execution_id)
        elif delivery.mail is None:
            raise NotDelivered("this dispatcher has no [smtp] in TEMPORAL_RUNS_NOTIFICATIONS")
        else:
            delivery.mail.send(notice.to, f"{result.state}: {_name(result)}", letter(result, link), result.execution_id)


async def begin_to_tell(result: RunResult) -> None:
    """Starts the workflow `Notify`, once for each Run however often this is called."""
    with suppress(WorkflowAlreadyStartedError):
        await activity.client().start_workflow(
            "Notify",
            result,
            id=f"notify:{result.run_id}:{result.execution_id}",
            task_queue=activity.info().task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"tells of {result.run_id}: {result.state}",
        )


def recipients(result: RunResult, store: Store) -> list[Notice]:
    """Those whom the spec and the project name for this outcome, each once. Raises StoreError."""
    spec = result.spec or {}
    project = spec.get("project")
    settled = isinstance(project, str) and re.fullmatch(ID_PATTERN, project)
    of_project = ProjectSettings.load(store, str(project)).notify if settled else []
    wanted = [notice for notice in (*_in_spec(spec), *of_project) if result.state.value in notice.on]
    return list({notice.to: notice for notice in wanted}.values())


def told(result: RunResult, link: str | None) -> dict[str, Any]:
    """What a webhook is told."""
    spec = result.spec or {}
    return {
        "run_id": result.run_id,
        "execution_id": result.execution_id,
        "state": result.state,
        **{at: spec.get(at) for at in ("project", "owner", "title", "command", "tier", "tags")},
        "exit_code": result.exit_code,
        "cause": result.cause and result.cause.model_dump(mode="json", exclude={"evidence"}),
        "stop": result.stop and result.stop.model_dump(mode="json"),
        "results": result.results and result.results.model_dump(mode="json"),
        "usage": result.usage and result.usage.model_dump(mode="json"),
        "input_commit": result.input_commit,
        "output_commit": result.output_commit,
        "executor": result.executor,
        "attempt": result.attempt,
        "started_at": result.history[0].at.isoformat(),
        "ended_at": result.history[-1].at.isoformat(),
        "seconds": seconds_in(result),
        "links": {"web_ui": link, "console": f"temporal-runs logs {result.run_id}"},
    }


def letter(result: RunResult, link: str | None) -> str:
    """What an e-mail says."""
    spec = result.spec or {}
    spent = ", ".join(f"{state} {seconds:.0f} s" for state, seconds in seconds_in(result).items())
    lines = [
        f"Run {result.run_id} of project {spec.get('project')} ended {result.state}.",
        result.cause and f"{result.cause.message}.\n{result.cause.advice}",
        result.stop and not result.stop.too_late and f"It was stopped: {result.stop.reason or 'on request'}.",
        f"Time: {spent}",
        f"Console: temporal-runs logs {result.run_id}",
        f"All of it: temporal-runs status {result.run_id}",
        link,
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def seconds_in(result: RunResult) -> dict[str, float]:
    """State → seconds spent in it."""
    spent: dict[str, float] = {}
    for change, following in pairwise(result.history):
        spent[change.state.value] = spent.get(change.state.value, 0.0) + (following.at - change.at).total_seconds()
    return spent


def _count(notification: Notification, told: str) -> None:
    by = "webhook" if notification.notice.url else "e-mail"
    metrics.NOTIFICATIONS.add(activity.metric_meter(), 1, by=by, told=told)


def _in_spec(spec: dict[str, Any]) -> list[Notice]:
    """Also of a spec that is wrong elsewhere: its author wants to hear of that."""
    try:
        return TypeAdapter(list[Notice]).validate_python(spec.get("notify") or [])
    except ValidationError:
        return []


def _name(result: RunResult) -> str:
    """What a person calls the Run, also where its spec is not valid; on one line."""
    spec = result.spec or {}
    command = spec.get("command")
    words = cast(list[object], command) if isinstance(command, list) else [command]
    name = spec.get("title") or " ".join(str(word) for word in words)
    return " ".join(str(name).split())[:200]
