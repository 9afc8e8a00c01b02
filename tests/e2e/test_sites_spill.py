"""Who may work for whom across a link."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from agent_runtime import Agent
from bus import Client, codec, store
from bus.testing import eventually
from bus.wire.site import SitePolicy
from coordinator import Coordinator
from coordinator.sites.hub import HubSites
from fleetbus import site_list
from tests.support.site_scene import Patient, scene, worker
from tests.support.sites import land


async def test_spill_is_configuration(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        busy = Agent("b1", slots=1, grace=1.0)
        release = asyncio.Event()

        @busy.capability("echo")
        async def echo(text: str) -> str:
            if text == "block":
                await release.wait()
            return f"{text} at the hub"

        await one.agent(one.there.hub.url, busy)
        await eventually(lambda: "b1" in one.hub.view.agents)
        blocked = [await one.above.submit("echo", {"text": "block"}) for _ in range(9)]
        await eventually(lambda: one.hub.view.agents["b1"].room == 0)
        waits = await one.above.submit("echo", {"text": "waits"})
        await asyncio.sleep(0.5)  # long enough for it to go, if it did
        assert not one.ran, "never: the site is given nothing that somebody here offers"
        done = await one.fleetbus("site", "spill", "s1", "when-full")
        assert done.status == 0, done.err
        assert await waits.result(timeout=8) == "waits at s1"
        release.set()
        for handle in blocked:
            await handle.result(timeout=10)
        [site] = await site_list.read(one.above.bus)
        assert site.policy.spill == "when-full"
        await eventually(lambda: one.uplink.place.policy == site.policy)


async def test_a_task_goes_from_one_site_to_another_if_that_is_allowed(tmp_path: Path) -> None:
    ran: list[str] = []
    async with land(tmp_path, "s1", "s2") as there, AsyncExitStack() as stack:
        enter, fleet = stack.enter_async_context, there.fleet
        hub = await enter(Coordinator.connect(there.hub.url, fleet, name="h1"))
        for name in ("s1", "s2"):
            await enter(Coordinator.connect(there[name].url, fleet, name=f"l-{name}", site=name))
        await enter(worker("a2", "s2", ran, "sum").connect(there["s2"].url, fleet))
        below = await enter(Client.connect(there["s1"].url, fleet))
        above = await enter(Client.connect(there.hub.url, fleet))
        sites = hub.sites
        assert isinstance(sites, HubSites)
        await eventually(lambda: "s2" in sites.links and bool(sites.links["s2"].place.briefs))
        handle = await below.submit("sum", {"text": "x"})
        await eventually(
            lambda: bool(sites.links["s1"].hauling.pumps) and _moved(sites, "s1"), timeout=8
        )
        assert not ran, "s2 takes nothing from s1 by default"
        policy = SitePolicy(accepts=("hub", "s1"))
        key = f"{above.bus.subjects.config_keys}spill.s2"
        await store.publish(above.bus, key, codec.encode(policy))
        assert await handle.result(timeout=10) == "x at s2"


def _moved(sites: HubSites, site: str) -> bool:
    pumps = sites.links[site].hauling.pumps
    return any(one.tally.moved for name, one in pumps.items() if name.startswith("SITES_"))


async def test_spill_always_shares_the_work_by_load(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        here: list[str] = []
        slow = Agent("b1", slots=1, grace=1.0)

        @slow.capability("echo")
        async def echo(text: str) -> str:
            await asyncio.sleep(0.05)
            here.append(text)
            return f"{text} at the hub"

        await one.agent(one.there.hub.url, slow)
        await eventually(lambda: "b1" in one.hub.view.agents)
        first = [await one.above.submit("echo", {"text": f"f{n}"}) for n in range(5)]
        for handle in first:
            assert await handle.result(timeout=8)
        assert not one.ran, "never, as yet"
        key = f"{one.above.bus.subjects.config_keys}spill.s1"
        await store.publish(one.above.bus, key, codec.encode(SitePolicy("always")))
        await eventually(lambda: one.sites.links["s1"].place.policy.spill == "always")
        handles = [await one.above.submit("echo", {"text": f"t{n}"}) for n in range(60)]
        for handle in handles:
            await handle.result(timeout=15)
        # The site's agent is quicker and has more slots, but the hub's own is not idle either.
        assert len(one.ran) > 30
        assert sorted(one.ran + here) == sorted([f"f{n}" for n in range(5)] + names(60))
        found = await one.results(one.above)
        assert set(found) == {handle.id for handle in (*first, *handles)}
        assert max(found.values()) == 1
        # Without the link all of it is done here.
        await one.cut()
        handle = await one.above.submit("echo", {"text": "alone"})
        assert await handle.result(timeout=8) == "alone at the hub"


def names(count: int) -> list[str]:
    return [f"t{n}" for n in range(count)]


async def test_a_site_whose_agents_are_full_gives_work_up_if_it_may(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        patient, helper = Patient("p1", "s1"), Patient("p2", slots=64)
        await one.agent(one.there["s1"].url, patient.agent)
        await one.agent(one.there.hub.url, helper.agent)
        await eventually(lambda: "p1" in one.site.view.agents and "p2" in one.hub.view.agents)
        helper.go_on.set()
        handles = [await one.below.submit("wait", {"text": f"t{n}"}) for n in range(30)]
        await eventually(lambda: one.site.view.agents["p1"].room == 0)
        await asyncio.sleep(0.5)  # long enough for some to go, if they did
        assert not helper.begun, "never: the hub gets nothing that somebody at the site offers"
        key = f"{one.above.bus.subjects.config_keys}spill.s1"
        await store.publish(one.above.bus, key, codec.encode(SitePolicy(up="when-full")))
        await eventually(lambda: len(helper.begun) > 10, timeout=8)
        # Their results come to the site's client, also those that the link has missed.
        await one.cut()
        patient.go_on.set()
        await one.mend()
        results = [await handle.result(timeout=15) for handle in handles]
        assert sum(str(one).endswith("at default") for one in results) == len(helper.begun)
        assert sorted(helper.begun + patient.begun) == sorted(names(30))
        await eventually(lambda: not one.uplink.debts.open)
        for client in (one.above, one.below):
            await eventually(partial(one.has, client, 30), timeout=8)
            assert max((await one.results(client)).values()) == 1
