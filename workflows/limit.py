"""The workflow `Limit`: one for each project that has a `max_running`. Lets so many of its Runs on to the queue.

A Run joins, is admitted by a signal, and leaves at its end. One that ended without a word, since it was terminated, is
found out by asking, while others wait for its place. When nobody is left, the workflow ends; the next Run starts it.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

from temporal_runs.steps import Ticket, Turns

ASK_AFTER = timedelta(seconds=30)
"""How long Runs wait for a place before it is asked whether all that have one are still there."""

SOON = timedelta(seconds=30)


@workflow.defn(name="Limit")
class Limit:
    """How many Runs of one project are on their way at once."""

    @workflow.init
    def __init__(self, turns: Turns) -> None:
        self.limit = turns.limit
        self.admitted = {ticket.run_id: ticket for ticket in turns.admitted}
        self.waiting = {ticket.run_id: ticket for ticket in turns.waiting}
        self.to_be_told: list[str] = []
        self.has_news = True

    @workflow.run
    async def run(self, turns: Turns) -> None:
        """Until nobody is left. A place is given before its Run is told: it is never given twice."""
        while self.admitted or self.waiting:
            self.has_news = False
            self.admit()
            while self.to_be_told:
                await self.tell(self.to_be_told.pop(0))
            if workflow.info().is_continue_as_new_suggested() and not self.has_news:
                workflow.continue_as_new(self.turns())
            try:
                patience = ASK_AFTER if self.waiting else None
                await workflow.wait_condition(lambda: self.has_news, timeout=patience)
            except TimeoutError:
                await self.let_go_of_those_that_are_gone()

    @workflow.signal
    def join(self, ticket: Ticket) -> None:
        """A Run wants a place. It may ask again."""
        self.has_news = True
        self.limit = ticket.limit
        if ticket.run_id in self.admitted:
            self.to_be_told.append(ticket.run_id)
        else:
            self.waiting.setdefault(ticket.run_id, ticket)

    @workflow.signal
    def leave(self, run_id: str) -> None:
        """A Run has ended, or waits no more."""
        self.has_news = True
        self.waiting.pop(run_id, None)
        self.admitted.pop(run_id, None)

    @workflow.query
    def turns(self) -> Turns:
        """Who has a place and who waits for one."""
        return Turns(limit=self.limit, admitted=list(self.admitted.values()), waiting=list(self.waiting.values()))

    def admit(self) -> None:
        while self.waiting and len(self.admitted) < self.limit:
            # The first of the most urgent: the dict is in the order of their joining.
            ticket = min(self.waiting.values(), key=lambda ticket: ticket.priority)
            self.admitted[ticket.run_id] = self.waiting.pop(ticket.run_id)
            self.to_be_told.append(ticket.run_id)

    async def tell(self, run_id: str) -> None:
        try:
            await workflow.get_external_workflow_handle(run_id).signal("admit")
        except FailureError:
            # It is over: the signal could not be delivered.
            self.leave(run_id)

    async def let_go_of_those_that_are_gone(self) -> None:
        gone = await workflow.execute_local_activity(
            "gone", list(self.admitted), result_type=list[str], start_to_close_timeout=SOON
        )
        for run_id in gone:
            self.leave(run_id)
