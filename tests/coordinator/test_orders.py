"""How many tasks a coordinator orders, and what it makes of what comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import Bus, Client
from bus.testing import eventually
from bus.wire import headers as h
from coordinator.dispatcher import Dispatcher
from coordinator.puller import MAX_CREDIT, SHARE, Lane, Puller, orders
from coordinator.settings import CoordinatorSettings
from coordinator.verdicts import Verdicts
from coordinator.view import FleetView
from tests.support.view import agent


@pytest.mark.parametrize(
    ("free", "backlogs", "credits", "wanted"),
    [
        (0, [0, 0, 0], [0, 0, 0], [0, 0, 0]),
        # Nothing is known to wait: whatever comes first may have it all.
        (8, [0, 0, 0], [0, 0, 0], [8, 8, 8]),
        (8, [3, 0, 0], [0, 0, 0], [8, 5, 5]),
        (8, [3, 4, 0], [0, 0, 0], [8, 5, 1]),
        (8, [100, 0, 0], [0, 0, 0], [8, 0, 0]),
        (8, [0, 100, 0], [0, 0, 0], [8, 8, 0]),
        # What it has earned a lane has besides; less than one task is none.
        (8, [100, 9, 9], [0, 2.0, 0.99], [8, 2, 0]),
        (8, [100, 9, 9], [0, 2.9, 1.0], [8, 2, 1]),
    ],
)
def test_orders(free: int, backlogs: list[int], credits: list[float], wanted: list[int]) -> None:
    assert orders(free, backlogs, credits) == wanted


LANES = st.lists(st.integers(0, 50), min_size=3, max_size=3)


@given(free=st.integers(0, 50), backlogs=LANES)
def test_known_tasks_never_get_more_than_is_free(free: int, backlogs: list[int]) -> None:
    wanted = orders(free, backlogs, [0.0] * 3)
    assert wanted[0] == free
    assert wanted == sorted(wanted, reverse=True)
    assert min(wanted) >= 0
    served = sum(min(want, backlog) for want, backlog in zip(wanted, backlogs, strict=True))
    assert served <= free


class Desk:
    """A puller with an agent, whose lanes exist in the broker."""

    def __init__(self, bus: Bus, slots: int) -> None:
        settings = CoordinatorSettings()
        self.settings = settings
        self.gone: list[Any] = []
        self.view = FleetView("c1")
        self.verdicts = Verdicts(bus)
        self.dispatcher = Dispatcher(
            bus, "c1", self.view, settings, self.verdicts, self.gone.append
        )
        self.puller = Puller(bus, self.view, self.dispatcher, self.verdicts, settings, lambda: 1)
        self.entry = agent(self.view, "a", slots=slots)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return self.puller._sets["echo"]

    async def __aenter__(self) -> Desk:
        await self.dispatcher.start()
        await self.puller.start()
        self.puller.open(["echo"])
        await eventually(lambda: "echo" in self.puller._sets)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.puller.stop()
        self.dispatcher.hand_back()
        await self.verdicts.stop()


async def test_orders_what_is_free_and_no_more_than_is_left(bus: Bus, client: Client) -> None:
    async with Desk(bus, slots=10) as desk:
        await eventually(lambda: [lane.asked for lane in desk.lanes] == [10, 10, 10])
        got: list[str] = []
        await bus.listen(bus.subjects.dispatch("a"), lambda m: got.append(m.headers[h.TASK]))
        await bus.flush()
        handles = await client.submit_many("echo", [{}] * 30)
        # Nobody refuses and nobody reports: ten are forwarded, no further one is.
        await eventually(lambda: len(got) >= 10)
        await bus.flush()
        assert set(got) <= {handle.id for handle in handles}
        assert (len(got), desk.entry.room) == (10, 0)
        assert desk.dispatcher.held("echo") == 0


async def test_lower_ones_earn_a_share_while_a_higher_one_has_a_backlog(bus: Bus) -> None:
    async with Desk(bus, slots=16) as desk:
        high, middle, low = desk.lanes
        for lane in desk.lanes:
            lane.asked = 0
        high.backlog = 1000
        desk.puller._pull()
        assert [lane.asked for lane in desk.lanes] == [16, 0, 0]
        assert (high.credit, middle.credit, low.credit) == (0, 16 * SHARE, 16 * SHARE)
        high.asked = 0
        desk.puller._pull()
        # Two were earned and are now on order, and two more are earned by the next sixteen.
        assert [lane.asked for lane in desk.lanes] == [16, 2, 2]
        assert middle.credit == low.credit == 16 * SHARE
        for _ in range(100):
            high.asked = 0
            middle.asked = low.asked = 10**6
            desk.puller._pull()
        assert middle.credit == low.credit == MAX_CREDIT


async def test_orders_that_the_server_forgot_are_placed_again(bus: Bus) -> None:
    async with Desk(bus, slots=4) as desk:
        lane = desk.lanes[0]
        await eventually(lambda: lane.asked == 4)
        desk.puller._pull()
        assert lane.asked == 4
        lane.overdue = 1.0
        number = desk.puller._number
        desk.puller._pull()
        assert (lane.asked, desk.puller._number) == (4, number + 1)


async def test_expired_orders_are_placed_again(bus: Bus) -> None:
    async with Desk(bus, slots=4) as desk:
        lane = desk.lanes[0]
        await eventually(lambda: lane.asked == 4)
        number = desk.puller._number
        # As the server would say it, to the order's own inbox.
        inbox = next(iter(desk.puller._orders))
        status = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 4\r\n\r\n"
        bus.send(inbox, block=status)
        await eventually(lambda: desk.puller._number == number + 1)
        assert inbox not in desk.puller._orders
        assert lane.asked == 4


async def test_agents_without_room_order_nothing(bus: Bus) -> None:
    async with Desk(bus, slots=4) as desk:
        desk.entry.standing = "draining"
        desk.entry.settle()
        for lane in desk.lanes:
            lane.asked = 0
        number = desk.puller._number
        desk.puller._pull()
        assert desk.puller._number == number


GARBAGE = [
    pytest.param(b"NATS/1.0\r\nFleet-Deadline: soon\r\n\r\n", id="number"),
    pytest.param(b"NATS/1.0\r\nFleet-Deadline: %s\r\n\r\n" % (b"9" * 400), id="huge"),
    pytest.param(b"NATS/1.0\r\nFleet-Select: =\r\n\r\n", id="selector"),
    pytest.param(b"NATS/1.0\r\ntraceparent: a\nb\r\n\r\n", id="line-break"),
    pytest.param(b"HTTP/1.1\r\nA: b\r\n\r\n", id="not-headers"),
    pytest.param(b"NATS/1.0\r\nA: b", id="no-end"),
]


@pytest.mark.parametrize("block", GARBAGE)
async def test_task_that_cannot_be_read_goes_to_the_dead(bus: Bus, block: bytes) -> None:
    """It must not come back with each ack wait for ever, and stops nobody."""
    async with Desk(bus, slots=4):
        dead: list[Any] = []
        await bus.listen(bus.subjects.dead("echo", "me.1"), dead.append)
        got: list[str] = []
        await bus.listen(bus.subjects.dispatch("a"), lambda m: got.append(m.headers[h.TASK]))
        await bus.flush()
        stored = await bus.request(bus.subjects.task("echo", "p0", "me.1"), b"{}", block)
        assert b'"seq"' in stored.data
        bus.send(bus.subjects.task("echo", "p0", "me.2"), b"{}")
        await eventually(lambda: got == ["me.2"])
        await eventually(lambda: len(dead) == 1)
        assert "it cannot be read" in dead[0].headers[h.ERROR]
