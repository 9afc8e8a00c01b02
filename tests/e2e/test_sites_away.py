"""A hub whose people come and go while a site is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bus import Client, store
from bus.testing import eventually
from bus.wire import headers as h
from coordinator.settings import CoordinatorSettings
from fleetbus import site_list
from tests.support.site_scene import Scene, scene, worker


async def shown(one: Scene) -> list[str]:
    return sorted(card.agent for card in await one.above.agents())


async def test_a_hub_that_starts_anew_knows_a_site_that_is_away(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        leaves = worker("a2", "s1", one.ran, "other")
        running = leaves.connect(one.there["s1"].url, one.there.fleet)
        await running.__aenter__()

        async def both() -> bool:
            return await shown(one) == ["a1", "a2"]

        await eventually(both)
        await one.cut()
        await one.restart()
        # What names the site is handed over to it, by the site's name and by an agent's.
        for select in ("site=s1", "agent=a1"):
            await one.above.submit("echo", {"text": select}, select=select)
        await eventually(lambda: one.sites.handover.handed == 2, timeout=8)
        await running.__aexit__(None, None, None)
        assert await shown(one) == ["a1", "a2"]
        await one.mend()

        async def one_left() -> bool:
            return await shown(one) == ["a1"]

        await eventually(one_left)
        await eventually(lambda: one.has(one.above, 2), timeout=8)
        assert sorted(one.ran) == ["agent=a1", "site=s1"]


async def test_deadlines_pass_at_the_hub_while_the_site_and_the_client_are_away(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as one:
        await one.cut()
        async with Client.connect(one.there.hub.url, one.there.fleet) as other:
            # It names the site, so it waits for the link; nobody is left who would give it up.
            late = await other.submit("echo", {"text": "late"}, select="site=s1", deadline=1.0)
            keeps = await other.submit("echo", {"text": "keeps"}, select="site=s1", deadline=60)
            await eventually(lambda: one.sites.handover.handed == 2)
        subjects = one.above.bus.subjects

        async def expired() -> bool:
            key = subjects.result(late.id)
            found = await store.last(one.above.bus, subjects.results_stream, key)
            return found is not None and found.headers[h.STATE] == "expired"

        await eventually(expired, timeout=8)
        [site] = await site_list.read(one.above.bus)
        assert site.waiting == 1
        await one.mend()
        await eventually(lambda: one.has(one.above, 2), timeout=8)
        assert one.ran == ["keeps"]
        found = await one.results(one.above)
        assert found == {late.id: 1, keeps.id: 1}


async def test_a_hub_that_starts_anew_does_not_take_a_quiet_site_for_away(tmp_path: Path) -> None:
    slow = CoordinatorSettings(min_interval=15.0)
    async with scene(tmp_path, settings=slow) as one:
        await eventually(lambda: one.sites.links["s1"].record is not None)
        await one.restart(settings=slow)
        await eventually(one.connected, timeout=8)
        await asyncio.sleep(3.5)  # nothing is to come: longer than it waits before it says so
        assert not await one.events(one.above, "site.disconnected")


async def test_what_a_forgotten_site_owes_has_failed(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        await eventually(lambda: shown(one))
        await one.cut()
        handle = await one.above.submit("echo", {"text": "lost"}, select="site=s1")
        await eventually(lambda: one.sites.handover.handed == 1)
        done = await one.fleetbus("site", "forget", "s1")
        assert done.status == 0, done.err
        assert "1 agents are forgotten; 1 tasks failed" in done.out
        result = await handle.outcome(timeout=3)
        assert (result.state, result.error and result.error.kind) == ("failed", "SiteForgotten")
        await eventually(lambda: "s1" not in one.sites.links)
        assert not await site_list.read(one.above.bus)
        # It comes back after all: it is known anew, and that task is not run.
        await one.mend()
        handle = await one.above.submit("echo", {"text": "new"}, select="site=s1")
        assert await handle.result(timeout=8) == "new at s1"
        assert one.ran == ["new"]


async def test_spill_wants_sites_that_there_are(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        for command in (["typo", "never"], ["s1", "always", "--from", "typo"]):
            done = await one.fleetbus("site", "spill", *command)
            assert done.status == 1
            assert "there is no site 'typo': 'fleetbus site list' shows all" in done.err
        done = await one.fleetbus("site", "spill", "s9", "when-full", "--new")
        assert done.status == 0, done.err
        await eventually(lambda: "s9" in one.sites.links)
        assert one.sites.links["s9"].place.policy.spill == "when-full"
        await asyncio.sleep(3.5)  # nothing is to come of it
        assert not await one.events(one.above, "site.disconnected")
        done = await one.fleetbus("site", "list")
        assert done.status == 0, done.err
        rows = [line.split()[:2] for line in done.out.splitlines()]
        assert ["s1", "connected"] in rows
        assert ["s9", "awaited"] in rows
