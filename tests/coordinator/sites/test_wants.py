"""What the hub tells a site that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus import Bus, codec, store
from bus.payloads import Payloads
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.site import SiteWants
from bus.wire.task import ErrorInfo, TaskState
from coordinator.sites.wants import BUSY, Wants


@pytest.fixture
async def wants(bus: Bus) -> AsyncIterator[Wants]:
    made = Wants(bus, "s1")
    yield made
    await made.stop()


class Answers:
    """What comes to the site."""

    def __init__(self, bus: Bus) -> None:
        self.came: list[Inbound] = []
        self._bus = bus

    async def start(self) -> None:
        await self._bus.listen("answers", self.came.append)

    def ask(self, wants: Wants, **question: Any) -> None:
        wants.ask(Inbound("wants", "answers", codec.encode(SiteWants(**question)), b""))

    @property
    def tasks(self) -> list[str]:
        return [h.find(one.block, h.TASK) for one in self.came]


async def conclude(bus: Bus, task_id: str, state: TaskState, payload: str = "") -> None:
    error = None if state == "completed" else ErrorInfo("so it is")
    result = Result(task_id, state, error=error, payload=payload)
    await store.publish(bus, bus.subjects.result(task_id), b"", results.encode(result, once=True))


async def test_results_as_they_come(bus: Bus, wants: Wants) -> None:
    answers = Answers(bus)
    await answers.start()
    await conclude(bus, "me.1", "completed")
    answers.ask(wants, tasks=("me.1", "me.2", "no task"))
    await eventually(lambda: answers.tasks == ["me.1"])
    await conclude(bus, "me.2", "failed")
    await eventually(lambda: answers.tasks == ["me.1", "me.2"])


async def test_of_held_tasks_only_what_was_canceled(bus: Bus, wants: Wants) -> None:
    answers = Answers(bus)
    await answers.start()
    states: tuple[TaskState, ...] = ("completed", "canceled", "failed", "expired")
    for number, state in enumerate(states, start=1):
        await conclude(bus, f"me.{number}", state)
    answers.ask(wants, held=tuple(f"me.{n}" for n in range(1, 6)))
    await eventually(lambda: answers.tasks == ["me.2"])
    [one] = answers.came
    assert results.decode("me.2", one.headers, b"").error == ErrorInfo("so it is")
    # The question does not stand.
    await conclude(bus, "me.5", "canceled")
    answers.ask(wants, tasks=("me.1",))
    await eventually(lambda: answers.tasks == ["me.2", "me.1"])


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("in-me.1", True),
        ("out-me.2-17", True),
        ("out-me.2-18", False),
        ("in-other.1", False),
        ("in-me.2", False),
        ("nonsense", False),
    ],
)
async def test_payloads_of_its_own_tasks_and_of_results(
    bus: Bus, wants: Wants, name: str, given: bool
) -> None:
    """Also for a coordinator that has told the site of nothing yet."""
    mark = h.encode([(h.ATTEMPT, "0"), (h.SITE, "s1")])
    await store.publish(bus, bus.subjects.attempt("me.1"), b"", mark)
    mark = h.encode([(h.ATTEMPT, "0"), (h.SITE, "s2")])
    await store.publish(bus, bus.subjects.attempt("other.1"), b"", mark)
    await conclude(bus, "me.2", "completed", payload="out-me.2-17")
    await Payloads(bus).put(name, b"what it is")
    answers = Answers(bus)
    await answers.start()
    answers.ask(wants, payload=name)
    await eventually(lambda: answers.came and not answers.came[-1].data)
    assert b"".join(one.data for one in answers.came) == (b"what it is" if given else b"")
    assert bool(h.find(answers.came[-1].block, h.ERROR)) != given


async def test_a_flood_of_questions_is_not_kept(bus: Bus, wants: Wants) -> None:
    answers = Answers(bus)
    await answers.start()
    await conclude(bus, "me.1", "canceled")
    for _ in range(10 * BUSY):
        answers.ask(wants, held=("me.1",))
    await eventually(lambda: len(answers.came) >= BUSY)
    assert len(answers.came) == BUSY
