"""What tools show of a link that is down, on both sides of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bus import connect
from bus.errors import NoAgent
from bus.testing import eventually
from coordinator import Coordinator
from fleetbus import site_link
from tests.support.cli import Done, fleetbus
from tests.support.site_scene import Scene, scene
from tests.support.sites import land


async def at_site(one: Scene, *command: str) -> Done:
    return await fleetbus(*command, "-u", one.there["s1"].url, "-f", one.there.fleet)


async def at_hub(one: Scene, *command: str) -> Done:
    return await fleetbus(*command, "-u", one.there.hub.url, "-f", one.there.fleet)


def found(done: Done, check: str) -> list[dict[str, Any]]:
    return [finding for finding in done.json() if finding["check"] == check]


async def test_a_site_shows_its_own_link(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:

        async def answers() -> bool:
            record = await site_link.own(one.below.bus)
            return record is not None and record.connected

        async def hub_is_away() -> bool:
            return not await answers()

        await eventually(answers)
        # The lane is open before the link goes down, as after hours of work.
        await one.below.submit("only_hq", {})
        await eventually(lambda: one.uplink.handover.handed == 1, timeout=10)
        await one.cut()
        await eventually(hub_is_away, timeout=8)
        await one.below.tasks.submit_many("only_hq", [{}] * 60)  # some are on order
        handle = await one.below.submit("echo", {"text": "x"})
        await handle.result(timeout=5)
        listed, text, doctor, top = await asyncio.gather(
            at_site(one, "site", "list", "--json"),
            at_site(one, "site", "list"),
            at_site(one, "doctor", "--json"),
            at_site(one, "top", "--once", "--every", "0.2"),
        )
        [row] = listed.json()
        assert (row["site"], row["here"], row["connected"]) == ("hub", "s1", False)
        assert row["since_ms"] > 0
        assert row["tasks_for_it"] >= 60
        assert row["lag"][one.below.bus.subjects.results_stream] >= 1
        first, *_, last = text.out.splitlines()
        assert first == "site s1"
        assert last.split()[:2] == ["hub", "away"]
        [link] = found(doctor, "sites")
        assert link["level"] == "warn"
        assert "this is site s1, and its link to the hub is down for" in link["message"]
        [lane] = found(doctor, "lanes")
        assert lane["level"] == "ok"
        assert " tasks wait for only_hq" in lane["message"]
        assert "the hub takes them when the link is back" in lane["message"]
        assert "site s1, hub away for" in top.out
        refused = await at_site(one, "site", "spill", "s1", "always")
        assert refused.status == 1
        assert "this is the server of site s1: say it at the hub" in refused.err
        await one.mend()
        await eventually(answers, timeout=8)
        shown = await at_site(one, "site", "list")
        assert shown.out.splitlines()[-1].split()[:2] == ["hub", "connected"]


async def test_the_last_coordinator_of_a_site_says_that_it_leaves(tmp_path: Path) -> None:
    async with land(tmp_path, "s1") as there, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(Coordinator.connect(there.hub.url, there.fleet))
        async with Coordinator.connect(there["s1"].url, there.fleet, site="s1"):
            bus = await enter(connect(there["s1"].url, there.fleet))

            async def answers() -> bool:
                record = await site_link.own(bus)
                return record is not None and record.connected

            await eventually(answers, timeout=8)
        record = await site_link.own(bus)
        assert record is not None
        assert (record.connected, record.why) == (False, "the site's coordinator has stopped")


async def test_a_hub_names_the_site_that_is_away(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        await eventually(one.above.agents)
        doctor = await at_hub(one, "doctor", "--json")
        assert [link["level"] for link in found(doctor, "sites")] == ["ok"]
        await one.cut()
        await eventually(lambda: one.events(one.above, "site.disconnected"))
        await one.above.submit("echo", {"text": "named"}, select="site=s1")
        await one.above.submit("echo", {"text": "not named"})
        await eventually(lambda: one.sites.handover.handed == 1)
        doctor, drift, agents = await asyncio.gather(
            at_hub(one, "doctor", "--json"),
            at_hub(one, "config", "drift", "--json", "--timeout", "1s"),
            at_hub(one, "agents"),
        )
        [link] = found(doctor, "sites")
        assert link["level"] == "warn"
        assert link["message"].startswith("site s1 is disconnected, down for ")
        assert link["message"].endswith(": 1 agents, 2 tasks wait for it")
        assert [config["level"] for config in found(doctor, "config")] == ["ok"]
        assert drift.status == 0, drift.out
        assert [agent["verdict"] for agent in drift.json()["agents"]] == ["away"]
        assert "away for" in agents.out
        with pytest.raises(NoAgent, match="agents of sites that are away offer 'echo': s1"):
            await one.above.submit("echo", {"text": "never"}, require_agent=True)
        await one.mend()
        handle = await one.above.submit("echo", {"text": "then"}, require_agent=True)
        assert await handle.result(timeout=8) == "then at s1"
        assert "never" not in one.ran
