"""The transition table, as the design's section 2 states it."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from temporal_runs.status import State
from temporal_runs.workflows.causes import CAUSES
from temporal_runs.workflows.states import TRANSITIONS, ForbiddenTransition, check_transition, ending

BEFORE_FINISHING = {
    State.QUEUED,
    State.SCHEDULED,
    State.PREPARING,
    State.BUILDING,
    State.PULLING,
    State.RUNNING,
}


def test_the_table_knows_every_state():
    assert set(TRANSITIONS) == set(State)
    assert len(State) == 13


@given(some.lists(some.sampled_from(State), min_size=1, max_size=30))
def test_no_path_leaves_a_final_state_and_only_a_stop_leads_to_stopped(wishes: list[State]):
    path = [State.QUEUED]
    for wish in wishes:
        try:
            check_transition(path[-1], wish)
        except ForbiddenTransition:
            continue
        path.append(wish)
    assert all(not state.is_final for state in path[:-1])
    if State.STOPPED in path:
        assert path[-3:-1] == [State.STOP_REQUESTED, State.STOPPING]
    if State.SUCCEEDED in path:
        assert path[-2] is State.FINISHING
    if State.FINISHING in path:
        assert path[path.index(State.FINISHING) - 1] in (State.RUNNING, State.STOP_REQUESTED)
    if State.RUNNING in path:
        assert State.PREPARING in path


@pytest.mark.parametrize("state", sorted(BEFORE_FINISHING))
def test_before_finishing_a_run_can_be_stopped_fail_or_err(state: State):
    assert {State.STOP_REQUESTED, State.FAILED, State.ERROR} <= TRANSITIONS[state]


@pytest.mark.parametrize("state", list(State))
def test_every_state_leads_to_an_end(state: State):
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {after for before in frontier for after in TRANSITIONS[before]} - reached
        reached |= frontier
    assert any(one.is_final for one in reached)
    assert TRANSITIONS[state] or state.is_final


@pytest.mark.parametrize("code", sorted(CAUSES))
@pytest.mark.parametrize("state", [state for state in State if not state.is_final])
def test_a_run_may_end_of_any_cause_in_any_state(state: State, code: str):
    end = ending(state, CAUSES[code].blame)
    if state is State.STOP_REQUESTED and end is State.STOPPED:
        check_transition(state, State.STOPPING)
        state = State.STOPPING
    check_transition(state, end)


@pytest.mark.parametrize("state", [State.STOP_REQUESTED, State.STOPPING])
def test_a_stopped_run_does_not_fail_but_a_platform_that_does_is_told(state: State):
    assert ending(state, None) is ending(state, "user") is State.STOPPED
    assert ending(state, "platform") is State.ERROR


def test_what_ended_well_succeeds():
    assert ending(State.FINISHING, None) is State.SUCCEEDED
