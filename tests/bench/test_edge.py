"""The scenarios of the edge agent, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.edge.micropython.unix import unix
from bench.harness.errors import Missing
from bench.harness.figures import Params, at_least, at_most
from bus.server_probe import find_binary
from tests.support.micropython.running import node
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


@pytest.mark.fault
async def test_a_site_that_is_cut_off_goes_on_and_loses_nothing() -> None:
    session = await smoke("edge-site")
    cut: Params = {"link": "cut"}
    for metric in (
        "lost: no result at the hub",
        "lost: no result at the submitter",
        "not completed",
        "doubled at the hub",
        "doubled at the site",
        "out of order at the hub",
    ):
        assert value(session, metric, params=cut) == 0
        assert figure(session, metric, params=cut).target == at_most(0)
    for metric in ("submitted at the site", "submitted at the hub"):
        assert value(session, metric, params=cut) > 20
    # What came while it was cut off had to wait, on both sides.
    assert value(session, "waited at the site", params=cut) > 20
    assert value(session, "waited at the hub", params=cut) > 5
    first = value(session, "from the site, first at the hub after", params=cut)
    assert 0 < first <= value(session, "from the site, last at the hub after", params=cut)
    assert value(session, "results/s at the site", params={**cut, "phase": "without link"}) > 10
    ratio = figure(session, "results/s at the site, without link / before", params=cut)
    assert ratio.target == at_least(0.95)
    assert value(session, "bytes an hour, idle", params=cut) > 0


@pytest.mark.node
async def test_what_a_device_carries_and_holds() -> None:
    node()
    session = await smoke("edge-micropython")
    sizes = {
        (code, parts): value(session, "what a device loads", params={"code": code, "parts": parts})
        for code in ("source", ".mpy")
        for parts in ("needed", "all")
    }
    assert sizes[".mpy", "needed"] < sizes["source", "needed"] < sizes["source", "all"]
    assert sizes[".mpy", "needed"] < sizes[".mpy", "all"]
    for code, bound in (("source", 40), (".mpy", 20)):
        found = figure(session, "what a device loads", params={"code": code, "parts": "needed"})
        assert found.target == at_most(bound)
        params: Params = {"port": "webassembly", "code": code}
        assert 10 < value(session, "heap, idle", params=params) < 256
        assert 10 < value(session, "heap, running a task", params=params) < 256
        assert figure(session, "heap, idle", params=params).target == at_most(48)
        assert figure(session, "heap, running a task", params=params).target == at_most(64)


async def test_a_start_on_the_unix_port_is_timed() -> None:
    try:
        port = unix()
    except Missing as missing:
        pytest.skip(str(missing))
    session = await smoke("edge-micropython")
    code = "frozen" if port.frozen else "source"
    params: Params = {"port": f"unix, {port.bits} bits", "code": code}
    ours = value(session, "processor time until ready", "edge agent", params)
    assert ours > value(session, "processor time until ready", "MicroPython alone", params) > 0
    assert value(session, "heap, idle", params=params) > 10


async def test_what_is_not_at_hand_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Node.js and the unix port are looked for on PATH; the server may be, too.
    (tmp_path / "nats-server").symlink_to(find_binary())
    monkeypatch.setenv("PATH", str(tmp_path))
    session = await smoke("edge-micropython")
    skipped = {note.skipped: note.text for note in session.notes if note.skipped}
    assert "node" in skipped["MicroPython in WebAssembly: heap"]
    assert "PATH" in skipped["MicroPython's unix port: heap, processor time until ready"]
    assert {one.metric for one in session.figures} == {"what a device loads"}
