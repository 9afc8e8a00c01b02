"""Asks every instance every case, and gathers what they answer.

Each question is a durable task of the lowest priority for one agent, with a deadline, so that
nothing waits for ever for an agent that died. An agent is asked one question at a time, so that a
run never takes more than one of its slots, and a bounded number of all are asked at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bus.client import Client, TaskHandle, registry
from bus.errors import BusError, FleetError, InvalidSelector, QueueFull, TaskRejected
from bus.selectors import Selector
from bus.wire import Card
from bus.wire.result import Result
from fleetbus.golden import judge
from fleetbus.golden.cases import Case
from fleetbus.golden.judge import Answer, Check, Peers
from fleetbus.golden.regex import Match, Searcher
from fleetbus.golden.values import Seen, TooDeep, seen, text_of

log = logging.getLogger("fleetbus.golden")

PRIORITY: Final = 2

GIVE_UP: Final = 3
"""Questions in a row that an instance may leave unanswered before it is asked no more: each costs
the whole time of its case."""

STORING: Final = 15.0
"""Seconds that a question on its way to the broker is waited for before it is cancelled."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What one instance is to be asked."""

    agent: str
    cases: tuple[Case, ...]


def plan(cases: Sequence[Case], cards: Iterable[Card]) -> list[Questions]:
    """Who is asked what: every instance that offers the capability and matches. Pure."""
    parsed = [(case, Selector.parse(case.select)) for case in cases]
    found = []
    for card in cards:
        offered = {one.name for one in card.capabilities}
        fitting = tuple(
            case
            for case, selector in parsed
            if case.capability in offered and registry.matches(selector, card)
        )
        if fitting:
            found.append(Questions(card.agent, fitting))
    return found


class Runner:
    """One run.

    Args:
        client: who asks; it is open.
        there: tells of an agent whether it is registered still.
        repeat: how often each case is asked.
        outstanding: questions on their way at a time, of all instances.
        on_check: called after each answer.
    """

    def __init__(
        self,
        client: Client,
        there: Callable[[str], bool],
        *,
        repeat: int = 1,
        outstanding: int = 16,
        on_check: Callable[[], None] = lambda: None,
    ) -> None:
        self.checks: list[Check] = []
        self._client = client
        self._there = there
        self._repeat = repeat
        self._room = asyncio.Semaphore(outstanding)
        self._on_check = on_check
        self._same: dict[bytes, Seen] = {}
        """Answers by key: those that agree are kept once."""

    async def run(self, questions: Sequence[Questions]) -> None:
        """Ask all; ``checks`` has what came of it. Who cancels this leaves no task behind.

        Raises:
            BusError: the broker cannot be reached.
            RegexError: nothing can be searched.
        """
        async with Searcher() as searcher:
            try:
                async with asyncio.TaskGroup() as group:
                    for one in questions:
                        group.create_task(self._instance(one, searcher))
            except ExceptionGroup as failed:
                raise _first(failed) from None

    def peers(self, cases: Iterable[Case]) -> dict[str, Peers]:
        """The comparison of the instances with each other, by case."""
        answers: dict[str, dict[str, list[Seen]]] = defaultdict(lambda: defaultdict(list))
        for check in self.checks:
            answer = check.answer
            if answer.seen is not None:
                answers[answer.case][answer.agent].append(answer.seen)
        return {
            case.name: judge.compare(case, answers[case.name])
            for case in cases
            if case.name in answers
        }

    async def _instance(self, questions: Questions, searcher: Searcher) -> None:
        agent, missed = questions.agent, 0
        for _ in range(self._repeat):
            for case in questions.cases:
                why = self._hopeless(agent, missed)
                if why:
                    answer = Answer(agent, case.name, problem=why, missing=True)
                else:
                    async with self._room:
                        answer = await self._ask(agent, case)
                missed = missed + 1 if answer.missing else 0
                match: Match | None = None
                if case.rule == "regex" and answer.seen is not None:
                    match = await searcher.search(case.expected, text_of(answer.seen.value))
                self.checks.append(judge.check(case, answer, match))
                self._on_check()

    def _hopeless(self, agent: str, missed: int) -> str:
        """Why an instance is not asked any more; empty if it is."""
        if not self._there(agent):
            return "not asked: the instance left the fleet"
        if missed >= GIVE_UP:
            return f"not asked: {GIVE_UP} questions in a row were not answered"
        return ""

    async def _ask(self, agent: str, case: Case) -> Answer:
        try:
            handle = await self._submit(agent, case)
        except QueueFull:
            # The lowest priority gives way.
            return Answer(agent, case.name, problem="not asked: the queue is full", missing=True)
        except (TaskRejected, InvalidSelector) as refused:
            return Answer(agent, case.name, problem=str(refused))
        try:
            result = await handle.outcome()
        except BaseException:
            await self._take_back(handle)
            raise
        if result.state in ("expired", "canceled"):
            # The client that waits may have ended it; then it is in the queue still.
            await self._take_back(handle)
        return self._answer(agent, case, result)

    async def _submit(self, agent: str, case: Case) -> TaskHandle:
        # The name of an agent is a legal value as it is.
        select = f"agent={agent},{case.select}" if case.select else f"agent={agent}"
        submitting = asyncio.ensure_future(
            self._client.tasks.submit(
                case.capability,
                case.input,
                priority=PRIORITY,
                select=select,
                deadline=case.timeout,
            )
        )
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # It may be stored already, and its handle is what it can be cancelled with.
            done, _ = await asyncio.wait((submitting,), timeout=STORING)
            if not done:
                submitting.cancel()
            elif submitting.exception() is None:
                await self._take_back(submitting.result())
            raise

    async def _take_back(self, handle: TaskHandle) -> None:
        try:
            await handle.cancel("the golden run has ended")
        except (BusError, TimeoutError) as problem:
            # It goes by itself: it has a deadline.
            log.warning("task %s was not taken back: %s", handle.id, problem)

    def _answer(self, agent: str, case: Case, result: Result) -> Answer:
        if result.state == "expired":
            why = f"no answer within {case.timeout:g} s"
            return Answer(agent, case.name, problem=why, missing=True)
        if result.state != "completed":
            error = result.error
            said = f"{error.kind}: {error.message}" if error and error.kind else ""
            plain = said or (error.message if error else "no reason given")
            return Answer(agent, case.name, problem=f"{result.state}: {plain}")
        try:
            found = seen(result.value(), case.ignore)
        except (FleetError, TooDeep) as problem:
            return Answer(agent, case.name, problem=f"its answer cannot be used: {problem}")
        return Answer(agent, case.name, self._same.setdefault(found.key, found))


def _first(failed: BaseExceptionGroup[Exception]) -> Exception:
    found: Exception | BaseExceptionGroup[Exception] = failed
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
