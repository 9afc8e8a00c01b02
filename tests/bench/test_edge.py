"""The scenarios of the edge agent, small."""

from __future__ import annotations

import pytest

from bench.harness.figures import at_most
from tests.support.scenarios import figure, smoke, value

pytestmark = pytest.mark.slow


async def test_an_idle_agent_is_weighed_beside_python() -> None:
    session = await smoke("edge-idle")
    sides = ("edge agent", "Python with asyncio", "bare Python")
    ours, floor, bare = (value(session, "resident memory", side) for side in sides)
    assert ours > floor > bare > 5
    assert value(session, "over Python with asyncio") == pytest.approx(ours - floor)
    assert figure(session, "over Python with asyncio").target == at_most(3)


async def test_a_start_is_timed_to_the_first_heartbeat() -> None:
    session = await smoke("edge-start")
    assert value(session, "first heartbeat after") > value(session, "ready after", "bare Python")
    assert figure(session, "first heartbeat after").target == at_most(250)
    assert session.figure("importing asyncio takes", "Python with asyncio") is not None


async def test_what_an_idle_device_says_is_told_by_kind() -> None:
    session = await smoke("edge-wire")
    assert value(session, "bytes an hour", params={"kind": "heartbeats"}) > 0
    total = value(session, "on the wire an hour")
    assert total == pytest.approx(
        value(session, "NATS protocol an hour") + value(session, "TCP and IP an hour, estimated")
    )
    assert figure(session, "on the wire an hour").target == at_most(60)
    [grid] = session.grids
    assert [row[0] for row in grid.rows][:4] == [
        "heartbeats",
        "lease renewals",
        "their answers",
        "their adverts",
    ]


async def test_what_was_spooled_arrives_in_order_and_once() -> None:
    session = await smoke("edge-spool")
    params: dict[str, str | int | float] = {"messages": 100}
    assert value(session, "all in the hub after", params=params) > 0
    for metric in ("missing", "doubled", "out of order"):
        assert value(session, metric, params=params) == 0


@pytest.mark.fault
async def test_no_task_of_flaky_devices_is_left_without_a_result() -> None:
    session = await smoke("edge-flaky")
    for metric in (
        "without a terminal result",
        "duplicate results",
        "doubled",
        "left over",
    ):
        assert value(session, metric) == 0
    for metric in ("submitted", "taken", "stored", "partitions", "reboots"):
        assert value(session, metric) > 0
