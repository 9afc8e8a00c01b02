"""Placing, refusals and holding, on a real server with hand-made agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus import Bus, transport
from bus.errors import Disconnected
from bus.selectors import Selector
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator import dispatcher as dispatcher_module
from coordinator.dispatcher import LOWER_SHARE, RING_SLACK, Dispatcher, Waiting
from coordinator.entry import AgentEntry
from coordinator.pool import Pool
from coordinator.settings import CoordinatorSettings
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView
from coordinator.work import Work
from tests.support.view import agent, beat


def task(number: int, priority: int = 0, block: bytes = b"", data: bytes = b"{}") -> Work:
    """A task whose ack subject nobody minds."""
    ack = f"acks.{number}"
    return Work("echo", priority, f"me.{number}", data, block, ack=ack, sequence=number)


def select(expression: str) -> bytes:
    return h.encode([(h.SELECT, expression)])


class Desk:
    """A dispatcher, with its agents played by the test."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.gone: list[AgentEntry] = []
        self.got: list[tuple[str, str]] = []
        """(agent, task) in the order of arrival."""
        self.busy: dict[str, str] = {}
        """What an agent answers instead of taking a task."""
        self.acks: list[tuple[str, bytes]] = []
        self.view = FleetView("c1")
        self.settings = CoordinatorSettings(max_held=3)
        self.verdicts = Verdicts(bus)
        self.dispatcher = Dispatcher(
            bus, "c1", self.view, self.settings, self.verdicts, self.gone.append
        )

    async def start(self) -> None:
        await self.dispatcher.start()
        await self.bus.listen("acks.*", lambda m: self.acks.append((m.subject, m.data)))

    async def agent(self, name: str, listening: bool = True, **fields: Any) -> AgentEntry:
        if listening:
            subject = self.bus.subjects.dispatch(name)
            await self.bus.listen(subject, lambda m: self._on_dispatch(name, m))
            await self.bus.flush()
        entry = agent(self.view, name, **fields)
        self.dispatcher.room_came(entry)
        return entry

    def _on_dispatch(self, name: str, message: Inbound) -> None:
        if name in self.busy:
            self.bus.send(message.reply, block=h.encode([(h.BUSY, self.busy[name])]))
        else:
            self.got.append((name, message.headers[h.TASK]))

    def tasks(self) -> list[str]:
        return [name for _, name in self.got]


@pytest.fixture
async def desk(bus: Bus) -> AsyncIterator[Desk]:
    made = Desk(bus)
    await made.start()
    yield made
    made.dispatcher.hand_back()
    await made.verdicts.stop()


# Waiting


def waiting(*priorities: int) -> Waiting:
    made = Waiting(Pool("echo", Selector.parse("")))
    for number, priority in enumerate(priorities):
        made.lanes[priority].append(task(number, priority))
    return made


def drawn(made: Waiting, count: int) -> list[int]:
    return [made.lane().popleft().priority for _ in range(count)]


def test_priorities_come_in_order_and_each_in_order_of_arrival() -> None:
    made = waiting(2, 0, 1, 0)
    assert len(made) == 4
    assert [work.task_id for work in made] == ["me.1", "me.3", "me.2", "me.0"]
    assert drawn(made, 4) == [0, 0, 1, 2]
    assert len(made) == 0


def test_the_lowest_gets_its_share() -> None:
    made = waiting(*[0] * 100, *[1] * 10, *[2] * 10)
    got = drawn(made, LOWER_SHARE * 4)
    assert got.count(2) == 4
    assert got[:LOWER_SHARE] == [0] * (LOWER_SHARE - 1) + [2]
    # Without a lowest one the middle has the share.
    made = waiting(*[0] * 100, *[1] * 10)
    assert drawn(made, LOWER_SHARE * 2).count(1) == 2


# placing


async def test_forward_carries_what_the_agent_needs(desk: Desk) -> None:
    seen: list[Inbound] = []
    await desk.bus.listen(desk.bus.subjects.dispatch("a"), seen.append)
    await desk.agent("a", listening=False)
    desk.dispatcher.place(task(7, block=h.encode([("X-Mine", "1"), (h.VIA, "forged")])))
    await eventually(lambda: seen)
    assert seen[0].headers == {
        "X-Mine": "1",
        h.CAPABILITY: "echo",
        h.VIA: "c1",
        h.TASK: "me.7",
        h.ACK: "acks.7",
    }
    assert (seen[0].data, desk.dispatcher.forwarded) == (b"{}", 1)


async def test_held_until_there_is_room_then_in_order(desk: Desk) -> None:
    for number, priority in enumerate([1, 0, 0, 1]):
        desk.dispatcher.place(task(number, priority))
    assert desk.dispatcher.held("echo") == desk.dispatcher.all_held() == 4
    entry = await desk.agent("a", slots=3)
    await eventually(lambda: desk.tasks() == ["me.1", "me.2", "me.0"])
    assert (desk.dispatcher.held("echo"), entry.room) == (1, 0)
    # Others wait: a new one of the same priority does not overtake.
    desk.dispatcher.place(task(9, 1))
    assert desk.dispatcher.held("echo") == 2
    desk.view.beat(entry, beat(entry, accepted={"c1": 3}, running=2))
    desk.dispatcher.room_came(entry)
    await eventually(lambda: desk.tasks()[3:] == ["me.3"])
    assert desk.dispatcher.held("echo") == 1


async def test_selector_is_kept_to(desk: Desk) -> None:
    await desk.agent("a", slots=5, labels={"gpu": "no"})
    b = await desk.agent("b", labels={"gpu": "yes"})
    for number in range(2):
        desk.dispatcher.place(task(number, block=select("gpu=yes")))
    await eventually(lambda: desk.got == [("b", "me.0")])
    assert (desk.dispatcher.all_held(), desk.dispatcher.held("echo")) == (1, 0)
    desk.view.beat(b, beat(b, accepted={"c1": 1}))
    desk.dispatcher.room_came(b)
    await eventually(lambda: desk.got == [("b", "me.0"), ("b", "me.1")])


async def test_too_many_of_one_selector_go_back(desk: Desk) -> None:
    for number in range(5):
        desk.dispatcher.place(task(number, block=select("gpu=yes")))
    assert desk.dispatcher.all_held() == 3
    await eventually(lambda: len(desk.acks) == 2)
    assert {subject for subject, _ in desk.acks} == {"acks.3", "acks.4"}
    assert all(data.startswith(b'-NAK {"delay": ') for _, data in desk.acks)


async def test_calls_are_answered_when_nobody_offers_it(desk: Desk) -> None:
    answers: list[Inbound] = []
    await desk.bus.listen("answers", answers.append)
    desk.dispatcher.place(Work("echo", 0, "call.1", b"", b"", reply="answers"))
    await eventually(lambda: answers)
    assert answers[0].headers[h.STATE] == "rejected"
    assert "NoAgent" in answers[0].headers[h.ERROR]


# refusals


@pytest.mark.parametrize(
    ("reason", "standing"),
    [("full", "ready"), ("draining", "draining"), ("stopped", "draining"), ("capability", "ready")],
)
async def test_refused_goes_to_another(desk: Desk, reason: str, standing: str) -> None:
    first = await desk.agent("a", slots=4)
    desk.busy["a"] = reason
    desk.dispatcher.place(task(1))
    await eventually(lambda: desk.dispatcher.refused == 1)
    assert desk.got == []
    await desk.agent("b")
    await eventually(lambda: desk.got == [("b", "me.1")])
    assert (first.standing, first.forwarded, first.ring) == (standing, 0, {})
    assert first.room == (4 if reason == "capability" else 0)
    assert desk.gone == []
    desk.dispatcher.sweep(10.0)
    assert desk.dispatcher.all_held() == 0


async def test_nobody_listens(desk: Desk) -> None:
    first = await desk.agent("a", listening=False)
    desk.dispatcher.place(task(1))
    await eventually(lambda: desk.gone == [first])
    assert (first.standing, first.room) == ("suspect", 0)
    await desk.agent("b")
    await eventually(lambda: desk.got == [("b", "me.1")])


async def test_what_no_agent_can_read_is_buried_and_takes_no_room(desk: Desk) -> None:
    entry = await desk.agent("a", slots=2)
    desk.busy["a"] = "malformed"
    desk.dispatcher.place(task(1))
    await eventually(lambda: ("acks.1", b"+TERM") in desk.acks)
    assert entry.room == 2


async def test_answer_to_what_is_forgotten_is_nothing(desk: Desk) -> None:
    entry = await desk.agent("a", slots=2)
    desk.dispatcher.place(task(1))
    await eventually(lambda: desk.got)
    number = next(iter(desk.dispatcher._sent))
    desk.dispatcher._forget(number)
    desk.bus.send(f"{desk.dispatcher._inbox}{number}", block=h.encode([(h.BUSY, "full")]))
    await desk.bus.flush()
    assert (desk.dispatcher.refused, entry.forwarded) == (0, 1)


async def test_payloads_kept_for_refusals_are_bounded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "MAX_SENT_BYTES", 1000)
    await desk.agent("a", slots=50)
    for number in range(20):
        desk.dispatcher.place(task(number + 1, data=b"x" * 300))
    assert (desk.dispatcher.unrefused, desk.dispatcher._sent_bytes) == (3, 900)
    desk.dispatcher.place(task(99, data=b"x" * 2000))
    assert (desk.dispatcher.unrefused, desk.dispatcher._sent_bytes) == (0, 0)
    await eventually(lambda: len(desk.got) == 21)


# loss


async def test_lost_agents_tasks_are_asked_for_again(desk: Desk) -> None:
    answers: list[Inbound] = []
    await desk.bus.listen("answers", answers.append)
    entry = await desk.agent("a", slots=5)
    for number in (1, 2):
        desk.dispatcher.place(task(number))
    desk.dispatcher.place(Work("echo", 0, "call.1", b"", b"", reply="answers"))
    await eventually(lambda: len(desk.got) == 3)
    desk.view.remove(entry)
    assert desk.dispatcher.take_back(entry) == 2
    await eventually(lambda: sorted(desk.acks) == [("acks.1", b"-NAK"), ("acks.2", b"-NAK")])
    await eventually(lambda: answers)
    assert "AgentLost" in answers[0].headers[h.ERROR]
    assert (desk.dispatcher.unrefused, desk.dispatcher.take_back(entry)) == (0, 0)


async def test_redelivered_task_is_remembered_where_it_went_last(desk: Desk) -> None:
    first = await desk.agent("a")
    desk.dispatcher.place(task(1))
    second = await desk.agent("b")
    again = task(1)
    again.first = False
    desk.dispatcher.place(again)
    assert (list(first.ring), list(second.ring)) == ([], [1])


async def test_ring_is_bounded(desk: Desk) -> None:
    entry = await desk.agent("a", slots=1)
    for number in range(1, RING_SLACK + 10):
        desk.view.beat(entry, beat(entry, accepted={"c1": number - 1}))
        desk.dispatcher.place(task(number))
    assert len(entry.ring) == len(desk.dispatcher._holder) == RING_SLACK + 1
    assert max(entry.ring) == RING_SLACK + 9


# time


async def test_sweep_renews_and_expires_what_waits(desk: Desk) -> None:
    late = task(1, block=h.encode([(h.DEADLINE, "1")]))
    old, new = task(2), task(3)
    for work in (late, old, new):
        desk.dispatcher.place(work)
    old.renewed -= 4.0
    desk.dispatcher.sweep(10.0)
    await eventually(lambda: sorted(desk.acks) == [("acks.1", b"+ACK"), ("acks.2", b"+WPI")])
    assert desk.dispatcher.held("echo") == 2
    desk.dispatcher.sweep(10.0)
    await desk.bus.flush()
    assert len(desk.acks) == 2


async def test_sweep_without_a_broker_that_reads_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = [task(number) for number in range(3)]
    for work in works:
        desk.dispatcher.place(work)
        work.renewed -= 4.0
    with monkeypatch.context() as full:
        full.setattr(transport, "MAX_BUFFER", 0)
        with pytest.raises(Disconnected, match="does not read"):
            desk.dispatcher.sweep(10.0)
    assert desk.dispatcher.held("echo") == 3
    desk.dispatcher.sweep(10.0)
    await eventually(lambda: len(desk.acks) == 3)


async def test_sweep_forgets_what_was_not_refused_in_time(desk: Desk) -> None:
    await desk.agent("a")
    desk.dispatcher.place(task(1))
    desk.dispatcher.sweep(10.0)
    assert desk.dispatcher.unrefused == 1
    number, (work, entry, at) = next(iter(desk.dispatcher._sent.items()))
    desk.dispatcher._sent[number] = (work, entry, at - desk.settings.refusal_wait - 0.1)
    desk.dispatcher.sweep(10.0)
    assert (desk.dispatcher.unrefused, desk.dispatcher._sent_bytes) == (0, 0)


async def test_hand_back(desk: Desk) -> None:
    for number in range(3):
        desk.dispatcher.place(task(number, priority=number))
    assert desk.dispatcher.hand_back() == 3
    await eventually(lambda: sorted(desk.acks) == [(f"acks.{n}", b"-NAK") for n in range(3)])
    assert (desk.dispatcher.all_held(), desk.dispatcher.hand_back()) == (0, 0)
