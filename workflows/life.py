"""What is known of a Run, as its workflow finds it out: the state with its history, and the facts of the contract."""

from typing import Any, cast

from temporalio import workflow

from temporal_runs import metrics, search_attributes
from temporal_runs.spec import RunSpec
from temporal_runs.status import (
    Cause,
    Metric,
    PinnedInput,
    Results,
    RunResult,
    RunStatus,
    State,
    StateChange,
    Stop,
    Usage,
)
from temporal_runs.steps import Attempt, Inputs
from temporal_runs.workflows.details import details
from temporal_runs.workflows.states import check_transition


class Life:
    """The facts of one Run. `enter` is the only way into a state; it upholds the transition table."""

    def __init__(self) -> None:
        info = workflow.info()
        self.attempt = Attempt(run_id=info.workflow_id, execution_id=info.run_id)
        self.history = [StateChange(state=State.QUEUED, at=info.workflow_start_time)]
        self._published: State | None = None
        self.given_spec: dict[str, Any] | None = None
        self.reason: str | None = "is being checked"
        self.tier = ""
        """known when it is one that there is: made-up names are no labels"""
        self.executor: str | None = None
        self.build: str | None = None
        self.build_console: str | None = None
        self.input_commit: str | None = None
        self.inputs: list[PinnedInput] = []
        self.output_commit: str | None = None
        self.environment: str | None = None
        self.image: str | None = None
        self.exit_code: int | None = None
        self.cause: Cause | None = None
        self.stop: Stop | None = None
        self.results: Results | None = None
        self.usage: Usage | None = None
        self.metrics: dict[str, Metric] | None = None
        self.metrics_note: str | None = None

    @property
    def state(self) -> State:
        return self.history[-1].state

    def take_spec(self, given: Any) -> Any:
        """Keeps a spec as it was given, so that a bad one can be looked at."""
        self.given_spec = cast(dict[str, Any], given) if isinstance(given, dict) else None
        return given

    def begin(self, spec: RunSpec) -> None:
        """Makes a valid spec known, and the Run findable by it."""
        self.given_spec = spec.model_dump(mode="json", exclude_none=True)
        self._published = State.QUEUED
        workflow.upsert_search_attributes(
            [
                search_attributes.RUN_STATE.value_set(State.QUEUED),
                search_attributes.RUN_PROJECT.value_set(spec.project),
                search_attributes.RUN_TIER.value_set(spec.tier),
                search_attributes.RUN_OWNER.value_set(spec.owner),
                search_attributes.RUN_PRIORITY.value_set(spec.priority),
                search_attributes.RUN_TAGS.value_set(spec.tags),
            ]
        )

    def pin(self, inputs: Inputs) -> None:
        """What queueing has found out."""
        self.input_commit, self.environment = inputs.commit, inputs.environment_revision
        self.inputs = inputs.imports
        self.tier = inputs.tier.name
        self._tell(self.state)

    def enter(self, state: State, reason: str | None = None) -> None:
        """Goes on to the next state; raises ForbiddenTransition where the table has no such step."""
        check_transition(self.state, state)
        now = workflow.now()
        seconds = (now - self.history[-1].at).total_seconds()
        metrics.IN_STATE.record(workflow.metric_meter(), seconds, state=self.state, tier=self.tier)
        self.history.append(StateChange(state=state, at=now))
        self.reason = reason
        self._tell(state)

    def did(self, what: str) -> None:
        """Notes what was done in the state that it is in; a stop that came meanwhile has its own."""
        if self.state is not State.STOP_REQUESTED:
            self.history[-1] = self.history[-1].model_copy(update={"did": what})

    def _tell(self, state: State) -> None:
        """Counts the Run in its state, and says so in the dispatcher's log; neither while a history is replayed."""
        code = self.cause.code if self.cause else ""
        metrics.STATES.add(workflow.metric_meter(), 1, state=state, tier=self.tier, cause=code)
        workflow.logger.info("is %s", state, extra={"state": state, **({"cause": code} if code else {})})

    def publish(self) -> None:
        """Makes the state findable. Called before each wait, not in each state: of the states that are entered at once
        only the last could ever be found, and each update costs the server a write."""
        workflow.set_current_details(details(self.status()))
        if self._published is self.state:
            return
        self._published = self.state
        updates = [search_attributes.RUN_STATE.value_set(self.state)]
        if self.state.is_final and self.cause:
            updates.append(search_attributes.RUN_CAUSE.value_set(self.cause.code))
        workflow.upsert_search_attributes(updates)

    def begin_next_attempt(self) -> None:
        """Back to the queue, after the executor of an attempt was lost before its command began."""
        self.enter(State.QUEUED, f"its executor {self.executor} was lost; waits for another")
        self.attempt = self.attempt.model_copy(update={"number": self.attempt.number + 1})
        self.executor = None

    def note_stop_came_too_late(self) -> None:
        """The command had ended by itself before a stop reached it."""
        if self.stop:
            self.stop = self.stop.model_copy(update={"too_late": True})

    def status(self) -> RunStatus:
        """What is known now."""
        return RunStatus(**self._facts())

    def result(self) -> RunResult:
        """What is known in the end."""
        return RunResult(**self._facts())

    def _facts(self) -> dict[str, Any]:
        return {
            "run_id": self.attempt.run_id,
            "execution_id": self.attempt.execution_id,
            "state": self.state,
            "history": list(self.history),
            "attempt": self.attempt.number,
            "reason": self.reason,
            "executor": self.executor,
            "build": self.build,
            "build_console": self.build_console,
            "input_commit": self.input_commit,
            "inputs": self.inputs,
            "output_commit": self.output_commit,
            "environment": self.environment,
            "image": self.image,
            "exit_code": self.exit_code,
            "cause": self.cause,
            "stop": self.stop,
            "results": self.results,
            "usage": self.usage,
            "metrics": self.metrics,
            "metrics_note": self.metrics_note,
            "spec": self.given_spec,
        }
